package console

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
)

const (
	// maxStreams bounds the event streams that are open, of all pages together.
	maxStreams = 8
	// maxRequests bounds the requests that are being answered.
	maxRequests = 16
	// patience is how long one may take that asks the log or the table.
	patience = 10 * time.Second
)

// Options configure a [Console]. Gateway, History and Apps are required.
type Options struct {
	Gateway Gateway
	// History is read as it is: the console is for operators, and what an app hides from its
	// clients is not hidden here.
	History broker.History
	// Apps are the ids of the apps.
	Apps func() []string
	// Token must be had by whoever logs in; without one everybody is let in whom Refuse lets in.
	Token app.Secret
	// Refuse says why a request is not for this console, "" if it is: by its Host, its Origin
	// or where it comes from. Required.
	Refuse func(*http.Request) string
	// Refused is told of requests that are not granted, by a code and a reason.
	Refused func(r *http.Request, code, reason string)
	// Node and Version are shown. Beside says that the page to try things out is beside the
	// console.
	Node, Version string
	Beside        bool
	// Instance tells this console from others that a browser reaches at the same host, such as by the
	// address that it listens on; it is not shown. Empty if there are none.
	Instance string
	Logger   *slog.Logger
	// Now is the clock of sessions and LogTime that of the log, both time.Now by default.
	Now, LogTime func() time.Time
}

// Console serves the API below /console/api/. Make it with [New], end it with Close.
type Console struct {
	opt      Options
	cookie   string // the name of that of a session
	sessions sessions
	guesses  guesses
	sampler  sampler
	streams  counter
	requests counter
	said     seldom.Lines

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	open   sync.WaitGroup
}

// New makes a console.
func New(opt Options) *Console {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.LogTime == nil {
		opt.LogTime = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Refused == nil {
		opt.Refused = func(*http.Request, string, string) {}
	}
	c := &Console{opt: opt, cookie: cookieName(opt.Instance), streams: counter{most: maxStreams}, requests: counter{most: maxRequests}}
	c.sampler.gateway = opt.Gateway
	c.sessions.now, c.guesses.now = opt.Now, opt.Now
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the event streams and waits for them. Requests are refused from then on.
func (c *Console) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.open.Wait()
}

// Streams is how many event streams are open. Without a console there are none.
func (c *Console) Streams() int {
	if c == nil {
		return 0
	}
	return c.streams.now()
}

// Skipped counts the publications that were not shown because a page was too slow.
func (c *Console) Skipped() uint64 {
	if c == nil {
		return 0
	}
	return c.sampler.skipped.Load()
}

// route is one of the API. read routes change nothing.
type route struct {
	method string
	serve  func(*Console, *http.Request) (any, error)
}

// routes are those that want the token, apart from the event stream.
var routes = map[string]route{
	"session":     {http.MethodGet, (*Console).session},
	"overview":    {http.MethodGet, (*Console).overview},
	"channels":    {http.MethodGet, (*Console).channels},
	"channel":     {http.MethodGet, (*Console).channel},
	"history":     {http.MethodGet, (*Console).history},
	"members":     {http.MethodGet, (*Console).members},
	"connections": {http.MethodGet, (*Console).connections},
	"connection":  {http.MethodGet, (*Console).connection},
	"cluster":     {http.MethodGet, (*Console).cluster},
	"close":       {http.MethodPost, (*Console).closeConnection},
	"terminate":   {http.MethodPost, (*Console).terminate},
}

// Routes are the paths of the API below its root, for tests and documents.
func Routes() []string {
	out := []string{"login", "logout", "events"}
	for name := range routes {
		out = append(out, name)
	}
	return out
}

// Root is the path of the API.
const Root = "/console/api/"

// ServeHTTP answers a request below [Root].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	harden(w.Header())
	if reason := c.opt.Refuse(r); reason != "" {
		c.opt.Refused(r, "forbidden", reason)
		c.fail(w, r, refusal{http.StatusForbidden, "forbidden", reason})
		return
	}
	name := strings.TrimPrefix(r.URL.Path, Root)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if reason := crossSite(r); reason != "" {
			c.opt.Refused(r, "forbidden", reason)
			c.fail(w, r, refusal{http.StatusForbidden, "forbidden", reason})
			return
		}
	}
	if name == "login" && r.Method == http.MethodPost {
		c.login(w, r)
		return
	}
	if who := c.admits(r); who != admitted {
		c.keepOut(w, r, who)
		return
	}
	c.serve(w, r, name)
}

// serve answers a request of somebody who is logged in.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, name string) {
	to, known := routes[name]
	switch name {
	case "login", "logout":
		to.method, known = http.MethodPost, true
	case "events":
		to.method, known = http.MethodGet, true
	}
	switch {
	case !known:
		c.fail(w, r, refusal{http.StatusNotFound, "not_found", "there is nothing here"})
		return
	case to.method == http.MethodPost && r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		c.fail(w, r, refusal{http.StatusMethodNotAllowed, "method_not_allowed", "this path is for POST"})
		return
	case to.method == http.MethodGet && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		c.fail(w, r, refusal{http.StatusMethodNotAllowed, "method_not_allowed", "this path is for GET"})
		return
	case name == "logout":
		c.logout(w, r)
		return
	case name == "events":
		c.events(w, r)
		return
	}
	if !c.requests.enter() {
		c.fail(w, r, busy)
		return
	}
	defer c.requests.leave()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	body, err := to.serve(c, r.WithContext(ctx))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

// counter bounds what is under way.
type counter struct {
	most int
	mu   sync.Mutex
	n    int
}

func (c *counter) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.most {
		return false
	}
	c.n++
	return true
}

func (c *counter) leave() {
	c.mu.Lock()
	c.n--
	c.mu.Unlock()
}

func (c *counter) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
