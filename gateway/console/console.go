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
	// maxStreams bounds the open event streams of all pages.
	maxStreams = 8
	// maxRequests bounds the requests that are being answered.
	maxRequests = 16
	// patience bounds a request, which may wait for the log or the table.
	patience = 10 * time.Second
)

// Options configure a [Console]. Gateway, History and Apps are required.
type Options struct {
	Gateway Gateway
	// History is read without the limits of apps: the console is for operators, so it shows what an app hides
	// from its clients.
	History broker.History
	// Apps returns the ids of the apps.
	Apps func() []string
	// Token is required to log in. Without it, every request that passes Refuse is allowed.
	Token app.Secret
	// Refuse returns why a request is not for this console, because of its Host, its Origin or its address; ""
	// if it is. Required.
	Refuse func(*http.Request) string
	// Refused is called for requests that are not granted, with a code and a reason.
	Refused func(r *http.Request, code, reason string)
	// Node and Version are shown. Beside says that the page to try things out is at the same address.
	Node, Version string
	Beside        bool
	// Instance distinguishes this console from others that a browser reaches at the same host, for example by
	// its listening address. It is not shown. Empty if there are none.
	Instance string
	Logger   *slog.Logger
	// Now is the clock of sessions, and LogTime that of the log; both default to time.Now.
	Now, LogTime func() time.Time
}

// Console serves the API below /console/api/. [New] creates it, and Close ends it.
type Console struct {
	opt      Options
	cookie   string // name of the session cookie
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

// New creates a console.
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

// Close ends the event streams and waits for them. Further event streams are refused.
func (c *Console) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.open.Wait()
}

// Streams returns the number of open event streams. It is safe for a nil Console.
func (c *Console) Streams() int {
	if c == nil {
		return 0
	}
	return c.streams.now()
}

// Skipped returns the number of publications that were not shown because a page was too slow. It is safe for a
// nil Console.
func (c *Console) Skipped() uint64 {
	if c == nil {
		return 0
	}
	return c.sampler.skipped.Load()
}

// route is one route of the API. GET routes change nothing.
type route struct {
	method string
	serve  func(*Console, *http.Request) (any, error)
}

// routes are the routes that need a login, except the event stream and logout.
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

// Routes returns the paths of the API below its root, for tests and documentation.
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

// serve answers a request of a client that is logged in.
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

// counter bounds concurrent uses.
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
