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

// Log is what the API needs of a log.
type Log interface {
	broker.Publisher
	broker.History
}

// Eraser is what removes the past of channels, see [lives.Log].
type Eraser interface {
	broker.Eraser
	Reset(ctx context.Context, app, channel string) (lives.Reset, error)
	Began(app, channel string) time.Time
}

// Options configure an [API]. Apps and Log are required.
type Options struct {
	Apps *app.Registry
	Log  Log
	// History is what the past is read from, default Log. It may be a
	// [broker.Ranking] and a [broker.Listing].
	History broker.History
	// AllowUnsigned says whether a request may come without a signature; nil
	// means never. A request that has one is always checked.
	AllowUnsigned func(*http.Request) bool
	// Refuse says why a request for an app, nil for an unknown one, is not taken at all,
	// "" if it is; nil never does.
	Refuse func(*http.Request, *app.App) string
	// Node is stored with every event, as the gateway that took it in.
	Node string
	// Eraser removes the past of channels; nil means that nobody can, and then such requests
	// are answered with 422.
	Eraser Eraser
	// Census answers who is in channels; nil means that nobody knows, and then
	// the queries are answered with 503. Terminate closes the connections of a
	// user on all gateways.
	Census    Census
	Terminate func(ctx context.Context, a *app.App, user string) error
	// CacheTTL is how long a cache channel remembers, default 30 minutes.
	CacheTTL time.Duration
	// Limited is told when a limit of an app refuses a request: events_per_second,
	// reads_per_second, payload, channels, batch, event_name, body, bodies or answers.
	Limited func(app, limit string)
	// Refused is told of every request that is not granted: of which app, empty for an
	// unknown one, and the code of the answer, which is one of [Codes].
	Refused func(app, code string)
	// MaxBody bounds a request's body in bytes, default 1 MiB. MaxBodies bounds the
	// bodies of all requests that are being read or handled, default 64 MiB, at least
	// four times MaxBody; more are refused with 503. One app of several gets half. As
	// much again is for answers of more than 64 KiB that wait for their readers.
	MaxBody, MaxBodies int64
	// BodyTimeout bounds reading a body, default 30 s; no more than a third of it may
	// pass without a byte. AnswerTimeout bounds how long a client may take for an
	// answer, default 10 s, and a second more for each 64 KiB of it.
	BodyTimeout, AnswerTimeout time.Duration
	// PublishTimeout bounds how long a publish waits for the log; the log has
	// its own bound besides.
	PublishTimeout time.Duration
	// ListTimeout bounds how long a request waits for a list of channels or users, default 30 s.
	ListTimeout time.Duration
	// Tracer records requests that are allowed; nil for nobody.
	Tracer trace.Tracer
	// Observe is told of every request; app is empty if it named no known one.
	Observe func(app, route string, status int, took time.Duration, events int)
	// Now is the clock, default time.Now. LogTime is that of the log, by which the
	// ages of publications go, default Now.
	Now, LogTime func() time.Time

	Logger *slog.Logger
}

// API serves the paths below /apps/.
type API struct {
	opt Options
	// buckets are by app id, of those that were asked for something.
	bucketMu sync.Mutex
	buckets  map[string]*buckets
	// signers check signatures, by secrets.
	signers sync.Map
	// bodies of requests, and answers that wait for their readers.
	bodies, answers *bodies
	// Lists are made once for all who ask at a time: of the channels with a history, of those that are
	// occupied, and of the users of a channel.
	kept     broker.Rounds[string, []string]
	channels broker.Rounds[string, *roll]
	users    broker.Rounds[place, *roll]
	// said tells of requests that are not granted.
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

// request is one request while it is answered.
type request struct {
	api    *API
	http   *http.Request
	app    *app.App
	began  time.Time
	query  pusher.Query
	params url.Values // of the query
	// hold is the room for body, which is given back when the request is answered.
	hold hold
	body []byte
	// channel is the name in the path: of a channel, or of a user.
	channel string
	// until is the highest offset that is asked for in any case, nil for none.
	until *uint64
	// span is nil where nobody records it.
	span trace.Span
	// retryAfter is in seconds, of an answer that asks for patience.
	retryAfter int
	// events is how many were stored, for the metrics.
	events int
}

// complete is the path of a request. That of terminating connections may lack the app,
// as the official SDK of Python has it; its key names the app as well.
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

// reply sends the answer, or says why there is none. A large one needs room, because it is
// held until the client has taken it.
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
		// One that is larger than all the room of its app can be given as well.
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

// noRoom refuses an answer for which there is no room until others have been read.
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
