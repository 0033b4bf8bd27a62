package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/trace"
)

// Log is the part of a log that the API needs.
type Log interface {
	broker.Publisher
	broker.History
}

// Eraser removes the history of channels, see [lives.Log].
type Eraser interface {
	broker.Eraser
	Reset(ctx context.Context, app, channel string) (lives.Reset, error)
	Began(app, channel string) time.Time
}

// Options configure an [API]. Apps and Log are required.
type Options struct {
	Apps *app.Registry
	Log  Log
	// History is the log to read from, default Log. It may be a [broker.Ranking] and a [broker.Listing].
	History broker.History
	// AllowUnsigned reports whether a request may come without a signature; nil means never. A request that has
	// a signature is always checked.
	AllowUnsigned func(*http.Request) bool
	// Refuse returns why a request is refused before anything else is checked, "" if it is not. The app is nil
	// if it is unknown. nil refuses nothing.
	Refuse func(*http.Request, *app.App) string
	// Node is stored with every event, as the gateway that accepted it.
	Node string
	// Eraser removes the history of channels. Without it (nil), such requests are answered with 422.
	Eraser Eraser
	// Census answers queries about who is in channels. Without it (nil), they are answered with 503. Terminate
	// closes the connections of a user on all gateways.
	Census    Census
	Terminate func(ctx context.Context, a *app.App, user string) error
	// CacheTTL is how long a cache channel keeps its event, default 30 minutes.
	CacheTTL time.Duration
	// Limited is called when a limit of an app refuses a request. limit is events_per_second, reads_per_second,
	// payload, channels, batch, event_name, body, bodies or answers.
	Limited func(app, limit string)
	// Refused is called for every request that is not granted. app is empty if it is unknown, and code is the
	// code of the answer, one of [Codes].
	Refused func(app, code string)
	// MaxBody bounds a request's body in bytes, default 1 MiB. MaxBodies bounds the bodies of all requests that
	// are being read or handled, default 64 MiB, at least four times MaxBody; further requests are refused with
	// 503. If there are several apps, one app gets half of it. The same bound applies separately to answers of
	// more than 64 KiB that wait for their readers.
	MaxBody, MaxBodies int64
	// BodyTimeout bounds reading a body, default 30 s; at most a third of it may pass without a byte.
	// AnswerTimeout bounds how long a client may take to read an answer, default 10 s, plus a second for each 64
	// KiB.
	BodyTimeout, AnswerTimeout time.Duration
	// PublishTimeout bounds how long a publish waits for the log, default 10 s. The log has its own bound as
	// well.
	PublishTimeout time.Duration
	// ListTimeout bounds how long a request waits for a list of channels or users, default 30 s.
	ListTimeout time.Duration
	// Tracer records requests that are allowed; nil for no traces.
	Tracer trace.Tracer
	// Observe is called for every request; app is empty if the request named no known app.
	Observe func(app, route string, status int, took time.Duration, events int)
	// Now is the clock, default time.Now. LogTime is the clock of the log, which ages of publications refer to,
	// default Now.
	Now, LogTime func() time.Time

	Logger *slog.Logger
}

// API serves the paths below /apps/.
type API struct {
	opt Options
	// buckets are the rate limiters by app id. Apps without requests have none.
	bucketMu sync.Mutex
	buckets  map[string]*buckets
	// signers checks signatures; a [pusher.Signer] for each secret.
	signers sync.Map
	// bodies counts bodies of requests, and answers counts large answers that wait for their readers.
	bodies, answers *bodies
	// A list is made once for all concurrent requests: kept lists channels with a history, channels lists
	// occupied channels, and users lists the users of a channel.
	kept     broker.Rounds[string, []string]
	channels broker.Rounds[string, *roll]
	users    broker.Rounds[place, *roll]
	// said rate-limits log lines about requests that are not granted.
	said seldom.Lines
}

// New returns the API.
func New(opt Options) *API {
	if opt.History == nil {
		opt.History = opt.Log
	}
	if opt.MaxBody == 0 {
		opt.MaxBody = 1 << 20
	}
	if opt.MaxBodies == 0 {
		opt.MaxBodies = 64 << 20
	}
	opt.MaxBodies = max(opt.MaxBodies, 4*opt.MaxBody)
	if opt.BodyTimeout == 0 {
		opt.BodyTimeout = 30 * time.Second
	}
	if opt.AnswerTimeout == 0 {
		opt.AnswerTimeout = 10 * time.Second
	}
	if opt.PublishTimeout == 0 {
		opt.PublishTimeout = 10 * time.Second
	}
	if opt.ListTimeout == 0 {
		opt.ListTimeout = 30 * time.Second
	}
	if opt.Observe == nil {
		opt.Observe = func(string, string, int, time.Duration, int) {}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.LogTime == nil {
		opt.LogTime = opt.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Refuse == nil {
		opt.Refuse = func(*http.Request, *app.App) string { return "" }
	}
	if opt.Limited == nil {
		opt.Limited = func(string, string) {}
	}
	if opt.Refused == nil {
		opt.Refused = func(string, string) {}
	}
	if opt.CacheTTL == 0 {
		opt.CacheTTL = 30 * time.Minute
	}
	apps := func() int { return len(opt.Apps.IDs()) }
	return &API{opt: opt, bodies: newBodies(opt.MaxBodies, apps), answers: newBodies(opt.MaxBodies, apps)}
}

// request is one request during its handling.
type request struct {
	api    *API
	http   *http.Request
	app    *app.App
	began  time.Time
	query  pusher.Query
	params url.Values // of the query
	// hold is the room for body, which is released when the request is answered.
	hold hold
	body []byte
	// channel is the variable of the path: the name of a channel, or the id of a user.
	channel string
	// until is the highest offset that the answer may contain; nil for no bound.
	until *uint64
	// span is nil if there is no tracer.
	span trace.Span
	// retryAfter is the Retry-After header of the answer in seconds; 0 for none.
	retryAfter int
	// events is the number of published events, for the metrics.
	events int
}

// complete returns the path of a request. The official Python SDK terminates connections with a path that lacks
// the app, so the app is taken from the key.
func (a *API) complete(r *http.Request, params url.Values) string {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/users/") {
		return path
	}
	id := ""
	if named := a.opt.Apps.ByKey(params.Get("auth_key"), a.opt.Now()); named != nil {
		id = named.ID
	}
	return "/apps/" + url.PathEscape(id) + path
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := a.opt.Now()
	query, wrong := pusher.ParseQuery(r.URL.RawQuery)
	found, appID, channel, ok := find(a.complete(r, query.Params))
	if !ok {
		TurnAway(w, r)
		NotFound(w, r)
		a.refused("", "", r, "unknown", &failure{Message: "there is nothing at this path", Code: "not_found", Status: http.StatusNotFound})
		a.opt.Observe("", "unknown", http.StatusNotFound, a.opt.Now().Sub(began), 0)
		return
	}
	req := &request{api: a, http: r, began: began, app: a.opt.Apps.ByID(appID), channel: channel, query: query, params: query.Params}
	known := ""
	if req.app != nil {
		known = req.app.ID
	}
	req.hold = hold{bodies: a.bodies, app: known}
	defer req.hold.release()
	var answer any
	err := error(nil)
	if !found.takesMethod(r.Method) {
		TurnAway(w, r)
		w.Header().Set("Allow", found.allow())
		err = fail(http.StatusMethodNotAllowed, "method_not_allowed", "this path is for %s", found.method)
	} else if wrong != nil {
		TurnAway(w, r)
		err = invalid("query: %v", wrong)
	} else if err = req.prepare(w, found); err == nil {
		if found.method == http.MethodGet || found.name == terminateRoute.name || found.name == purgeRoute.name || found.name == resetRoute.name {
			err = req.take(a.bucketsOf(req.app).reads, limitReads, "reads", 1)
		}
		if a.opt.Tracer != nil {
			req.span = a.opt.Tracer.Request(r, found.name, "sluice.app", known, "sluice.channel", channel)
		}
		if err == nil {
			answer, err = found.serve(req)
		}
	}
	status := req.reply(w, found, answer, err)
	if req.span != nil {
		req.span.End(status, req.events, nil)
	}
	a.opt.Observe(known, found.name, status, a.opt.Now().Sub(began), req.events)
}

// reply sends the answer or the error, and returns the status. A large answer needs room, because it is held
// until the client has read it.
func (r *request) reply(w http.ResponseWriter, asked route, answer any, err error) int {
	a := r.api
	if s, ok := answer.(*stream); ok && err == nil {
		s.send(w, r.http.Method == http.MethodHead)
		return http.StatusOK
	}
	room := hold{bodies: a.answers, app: r.hold.app}
	defer room.release()
	status, body := http.StatusOK, []byte(nil)
	common, ofAll := answer.(*shared)
	switch {
	case err == nil && answer == nothing:
		body = []byte("{}")
	case err == nil && ofAll:
		defer common.release()
		body = common.body
	case err == nil:
		status, body = encode(a.opt.Logger, answer, nil)
		// An answer that is larger than the room of its app takes all of that room.
		if len(body) > piece && !room.take(min(int64(len(body)), a.answers.share())) {
			err = r.noRoom()
		}
	}
	r.noteLimit(err)
	if err != nil {
		f := failureOf(err)
		a.refused(r.hold.app, r.channel, r.http, asked.name, f)
		status, body = encode(a.opt.Logger, nil, f)
	}
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	send(w, a.opt.AnswerTimeout, status, body)
	return status
}

// noRoom is the error for an answer that has no room until other answers have been read.
func (r *request) noRoom() error {
	return crossed(limitAnswers, http.StatusServiceUnavailable, "service_unavailable",
		"too many answers wait for their readers; the limit is %d bytes of answers (http.max_bodies)", r.api.opt.MaxBodies)
}

func (r *request) enabled() error {
	if !r.app.Enabled {
		return fail(http.StatusForbidden, "forbidden", "the app is disabled")
	}
	return nil
}
