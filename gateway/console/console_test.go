package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 3 * time.Minute
	token    = "a-token-of-an-operator"
	hidden   = "private-hidden"
)

// gateway is a gateway with nothing behind it.
type gateway struct {
	mu       sync.Mutex
	channels []console.Channel
	show     func(int, func() console.Event)
	closed   []string
	looks    int
	watched  int
}

func (g *gateway) Totals() console.Totals { return console.Totals{Connections: 7, Channels: 2} }
func (g *gateway) Channels() []console.Channel {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	return append([]console.Channel{}, g.channels...)
}
func (g *gateway) Connections() []console.Connection {
	return []console.Connection{
		{ID: "1.1", App: "app", User: hidden + "-ada", Since: 10}, {ID: "2.2", App: "app", Since: 20, Lag: console.Lag{Events: 5, Oldest: 900, Blocked: 900}},
		{ID: "3.3", App: "app", Since: 30, Lag: console.Lag{Events: 1, Oldest: 20}},
	}
}
func (g *gateway) Subscriptions(id string) ([]console.Subscription, bool) {
	return []console.Subscription{{Channel: hidden, State: "live"}, {Channel: "late", State: "catching", Place: 2, Head: 5}}, id == "1.1"
}
func (g *gateway) Watch(_, _ string, show func(int, func() console.Event)) (func(), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.show = show
	g.watched++
	return func() { g.mu.Lock(); g.show = nil; g.mu.Unlock() }, nil
}
func (g *gateway) shows() func(int, func() console.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.show
}
func (g *gateway) Members(context.Context, string, string) ([]console.Member, error) {
	return []console.Member{{ID: hidden + "-ada", Info: `{"name":"Ada"}`}, {ID: "bob"}}, nil
}
func (g *gateway) Count(context.Context, string, string) (console.Count, error) {
	return console.Count{Subscriptions: 4, Members: 2}, nil
}
func (g *gateway) Close(id string, back console.Return, reason string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = append(g.closed, id+" "+string(back)+" "+reason)
	return id == "1.1"
}
func (g *gateway) Terminate(_ context.Context, app, user string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = append(g.closed, app+"/"+user)
	return nil
}
func (g *gateway) Cluster(context.Context) console.Cluster {
	return console.Cluster{Gateways: []console.Node{{ID: hidden}}}
}
func (g *gateway) Health() console.Health { return console.Health{Ready: true, Backend: hidden} }

// rig is a console behind a server.
type rig struct {
	t       *testing.T
	gateway *gateway
	console *console.Console
	server  *httptest.Server
	log     broker.Log
	mu      sync.Mutex
	at      time.Time
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

func newRig(t *testing.T, secret app.Secret) *rig {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}, MaxMessages: 1000, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: log, at: time.Now(), gateway: &gateway{channels: []console.Channel{{App: "app", Name: hidden, Subscriptions: 3}}}}
	r.console = console.New(console.Options{
		Gateway: r.gateway, History: log, Apps: func() []string { return []string{"app"} }, Token: secret, Node: hidden, Version: "v1", Now: r.now,
		Refuse: func(q *http.Request) string {
			if q.Host == "evil.example" {
				return "not a known host"
			}
			return ""
		},
	})
	r.server = httptest.NewServer(r.console)
	t.Cleanup(func() {
		r.console.Close()
		r.server.Close()
		http.DefaultClient.CloseIdleConnections()
		_ = log.Close()
	})
	return r
}

// ask sends a request. Headers come in pairs, and a body is sent as JSON.
func (r *rig) ask(method, path, body string, header ...string) (int, string, http.Header) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, r.server.URL+console.Root+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if method == http.MethodPost {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			q.Host = header[i+1]
		}
		q.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Body.Close()
	var text []byte
	if a.Header.Get("Content-Type") == "application/json" {
		if text, err = io.ReadAll(a.Body); err != nil {
			r.t.Fatal(err)
		}
	}
	return a.StatusCode, string(text), a.Header
}

var bearer = []string{"Authorization", "Bearer " + token}

// get decodes the response of a route to a client with the token.
func (r *rig) get(path string, into any) {
	r.t.Helper()
	status, text, _ := r.ask("GET", path, "", bearer...)
	if status != http.StatusOK {
		r.t.Fatalf("GET %s: %d %s", path, status, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, text)
	}
}

// login returns the cookie of a new session.
func (r *rig) login() string {
	r.t.Helper()
	status, text, h := r.ask("POST", "login", `{"token":"`+token+`"}`)
	if status != http.StatusOK {
		r.t.Fatalf("login: %d %s", status, text)
	}
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Max-Age=43200"} {
		if !strings.Contains(cookie, want) {
			r.t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	pair, _, _ := strings.Cut(cookie, ";")
	return pair
}

var queries = map[string]string{"channel": "?app=app&channel=" + hidden, "history": "?app=app&channel=" + hidden, "members": "?app=app&channel=" + hidden, "events": "?app=app&channel=" + hidden, "connection": "?id=1.1"}

var bodies = map[string]string{"close": `{"id":"1.1"}`, "terminate": `{"app":"app","user":"u"}`, "logout": `{}`, "login": `{"token":"wrong"}`}

// TestRun05NoDataWithoutTheToken requests every route with each method and with everything that is not the
// token.
func TestRun05NoDataWithoutTheToken(t *testing.T) {
	r := newRig(t, token)
	cookie := r.login()
	sides := map[string][]string{
		"nothing": nil, "another token": {"Authorization", "Bearer " + token + "x"}, "a part of it": {"Authorization", "Bearer " + token[:8]},
		"an empty one": {"Authorization", "Bearer "}, "another scheme": {"Authorization", "Basic " + token}, "the token in a cookie": {"Cookie", "sluice_console=" + token},
		"an empty cookie": {"Cookie", "sluice_console="}, "half a cookie": {"Cookie", cookie[:len(cookie)-3]},
	}
	routes := append(console.Routes(), "", "nothing", "session/", "../api/channels")
	for name, header := range sides {
		for _, route := range routes {
			for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
				r.pass(time.Second)
				status, text, h := r.ask(method, route+queries[route], bodies[route], append([]string{"Content-Type", "application/json"}, header...)...)
				if status != http.StatusUnauthorized || strings.Contains(text, hidden) {
					t.Errorf("%s: %s %s: %d %s", name, method, route, status, text)
				}
				if h.Get("Set-Cookie") != "" {
					t.Errorf("%s: %s %s begins a session", name, method, route)
				}
			}
		}
	}
	if len(r.gateway.closed) > 0 {
		t.Errorf("closed %v", r.gateway.closed)
	}
	// With the token, and with the session, every route answers.
	for _, header := range [][]string{bearer, {"Cookie", cookie}} {
		for _, route := range console.Routes() {
			method := "GET"
			if bodies[route] != "" {
				method = "POST"
			}
			if route == "login" || route == "events" || route == "logout" {
				continue
			}
			if status, text, _ := r.ask(method, route+queries[route], bodies[route], header...); status != http.StatusOK {
				t.Errorf("%s %s with %v: %d %s", method, route, header, status, text)
			}
		}
	}
}

// TestRun17HeadIsGetWithoutABody: every route takes HEAD, and the answer to another method lists the allowed
// ones.
func TestRun17HeadIsGetWithoutABody(t *testing.T) {
	r := newRig(t, token)
	for _, route := range console.Routes() {
		path, allow := route+queries[route], "GET, HEAD"
		status, _, h := r.ask("HEAD", path, "", bearer...)
		if bodies[route] != "" {
			allow = "POST"
			if status != http.StatusMethodNotAllowed || h.Get("Allow") != allow {
				t.Errorf("HEAD %s: %d, Allow %q", route, status, h.Get("Allow"))
			}
		} else if kind := h.Get("Content-Type"); status != http.StatusOK || kind != "application/json" && kind != "text/event-stream" {
			t.Errorf("HEAD %s: %d %q", route, status, kind)
		}
		if status, _, h := r.ask("PUT", path, "{}", append([]string{"Content-Type", "application/json"}, bearer...)...); status != http.StatusMethodNotAllowed || h.Get("Allow") != allow {
			t.Errorf("PUT %s: %d, Allow %q, want %q", route, status, h.Get("Allow"), allow)
		}
	}
	if n := r.console.Streams(); n != 0 {
		t.Errorf("%d event streams are open", n)
	}
	if r.gateway.watched != 0 {
		t.Error("a channel was watched for an answer without a body")
	}
}

// TestRun17BodiesOfAWrongKind: a wrong body is refused without the name of a Go type.
func TestRun17BodiesOfAWrongKind(t *testing.T) {
	r := newRig(t, token)
	for body, want := range map[string]string{
		`{"id":1}`: "id must be a string", `{"id":["a"]}`: "id must be a string", `[]`: "must be a JSON object", `7`: "must be a JSON object",
		`{"what":1}`: `unknown field`, `{`: "EOF",
	} {
		status, text, _ := r.ask("POST", "close", body, bearer...)
		if status != http.StatusBadRequest || !strings.Contains(text, want) || strings.Contains(text, "Go ") || strings.Contains(text, "json:") {
			t.Errorf("%s: %d %s, want %s", body, status, text, want)
		}
	}
}

func TestRun05SessionsEnd(t *testing.T) {
	r := newRig(t, token)
	cookie := r.login()
	asks := func() int { status, _, _ := r.ask("GET", "session", "", "Cookie", cookie); return status }
	if got := asks(); got != 200 {
		t.Fatalf("a session: %d", got)
	}
	if status, _, h := r.ask("POST", "logout", "{}", "Cookie", cookie); status != 200 || !strings.Contains(h.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: %d %v", status, h)
	}
	if got := asks(); got != 401 {
		t.Errorf("after logging out: %d", got)
	}
	// A proxy may have terminated TLS; the Origin of the page tells.
	for scheme, secure := range map[string]bool{"http://": false, "https://": true} {
		_, _, h := r.ask("POST", "login", `{"token":"`+token+`"}`, "Origin", scheme+strings.TrimPrefix(r.server.URL, "http://"))
		if set := h.Get("Set-Cookie"); set == "" || strings.Contains(set, "Secure") != secure {
			t.Errorf("the cookie for a page of %s is %q", scheme, set)
		}
	}
	cookie = r.login()
	r.pass(12*time.Hour + time.Second)
	if got := asks(); got != 401 {
		t.Errorf("after twelve hours: %d", got)
	}
	// The oldest session ends if there are too many.
	cookie = r.login()
	for range 64 {
		r.pass(time.Second)
		r.login()
	}
	if got := asks(); got != 401 {
		t.Errorf("after 64 others: %d", got)
	}
}

// TestSessionsBehindAProxyWithAPath: a browser sees the console below a path that a proxy removes. The cookie
// of the session is sent back to the API below that path and nowhere else, and can be ended.
func TestSessionsBehindAProxyWithAPath(t *testing.T) {
	r := newRig(t, token)
	for _, prefix := range []string{"", "/ops/eu"} {
		server := httptest.NewServer(http.StripPrefix(prefix, r.console))
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		ask := func(method, path, body string) int {
			q, _ := http.NewRequestWithContext(t.Context(), method, server.URL+prefix+console.Root+path, strings.NewReader(body))
			q.Header.Set("Content-Type", "application/json")
			a, err := browser.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Body.Close()
			return a.StatusCode
		}
		got := []int{ask("POST", "login", `{"token":"`+token+`"}`), ask("GET", "session", "")}
		elsewhere, _ := url.Parse(server.URL + prefix + "/app/key")
		if n := len(jar.Cookies(elsewhere)); n > 0 {
			t.Errorf("below %q the cookie is sent elsewhere", prefix)
		}
		got = append(got, ask("POST", "logout", "{}"), ask("GET", "session", ""))
		if fmt.Sprint(got) != "[200 200 200 401]" {
			t.Errorf("below %q: logging in, asking, logging out, asking: %v", prefix, got)
		}
		browser.CloseIdleConnections()
		server.Close()
	}
}

// TestRun05TheRightTokenAlwaysGetsIn: the right token is accepted while more wrong ones arrive than are
// answered.
func TestRun05TheRightTokenAlwaysGetsIn(t *testing.T) {
	r := newRig(t, token)
	doors := map[string]func(given string) (int, http.Header){
		"the page": func(given string) (int, http.Header) {
			status, _, h := r.ask("POST", "login", `{"token":"`+given+`"}`)
			return status, h
		},
		"a script": func(given string) (int, http.Header) {
			status, _, h := r.ask("GET", "session", "", "Authorization", "Bearer "+given)
			return status, h
		},
		"a script that acts": func(given string) (int, http.Header) {
			status, _, h := r.ask("POST", "close", `{"id":"1.1"}`, "Authorization", "bearer "+given)
			return status, h
		},
	}
	for name, wrong := range doors {
		r.pass(time.Second)
		for i := range 12 {
			want := http.StatusUnauthorized
			if i >= 5 {
				want = http.StatusTooManyRequests
			}
			status, h := wrong("guess")
			if status != want || (h.Get("Retry-After") != "") != (i >= 5) {
				t.Errorf("%s: wrong token %d: %d, want %d", name, i+1, status, want)
			}
		}
		for other, right := range doors {
			if status, _ := right(token); status != http.StatusOK {
				t.Errorf("the right token at %s, after wrong ones at %s: %d", other, name, status)
			}
		}
		// A request without a token is not a guess.
		if status, _, _ := r.ask("GET", "session", ""); status != http.StatusUnauthorized {
			t.Errorf("no token, after wrong ones at %s: %d", name, status)
		}
	}
}

// TestRun05PagesOfOthersCannotAct sends the requests that a page of another site can make a browser send,
// with the session of the operator.
func TestRun05PagesOfOthersCannotAct(t *testing.T) {
	r := newRig(t, token)
	cookie := r.login()
	for name, header := range map[string][]string{
		"a form":                    {"Content-Type", "text/plain"},
		"a form of another kind":    {"Content-Type", "application/x-www-form-urlencoded"},
		"another origin":            {"Origin", "http://evil.example"},
		"the origin null":           {"Origin", "null"},
		"another port":              {"Origin", "http://127.0.0.1:1"},
		"fetch metadata":            {"Sec-Fetch-Site", "cross-site"},
		"a site beside":             {"Sec-Fetch-Site", "same-site"},
		"a name that leads to here": {"Host", "evil.example"},
	} {
		for route, body := range bodies {
			status, text, _ := r.ask("POST", route, body, append([]string{"Cookie", cookie}, header...)...)
			if status != http.StatusForbidden {
				t.Errorf("%s: POST %s: %d %s", name, route, status, text)
			}
			if header[0] == "Origin" && !(strings.Contains(text, header[1]) && strings.Contains(text, "proxy does not forward Host")) {
				t.Errorf("%s: POST %s does not say what a proxy may have done: %s", name, route, text)
			}
		}
	}
	if status, _, _ := r.ask("GET", "channels", "", "Cookie", cookie, "Host", "evil.example"); status != http.StatusForbidden {
		t.Errorf("reading by another name: %d", status)
	}
	if len(r.gateway.closed) > 0 {
		t.Errorf("closed %v", r.gateway.closed)
	}
	origin := r.server.URL
	if status, text, _ := r.ask("POST", "close", `{"id":"1.1","reason":"bye","return":"never"}`, "Cookie", cookie, "Origin", origin, "Sec-Fetch-Site", "same-origin"); status != 200 {
		t.Errorf("the page itself: %d %s", status, text)
	}
	if fmt.Sprint(r.gateway.closed) != "[1.1 never bye]" {
		t.Errorf("closed %q", r.gateway.closed)
	}
}

func TestRun05HeadersKeepOthersOut(t *testing.T) {
	r := newRig(t, token)
	for _, header := range [][]string{nil, bearer} {
		for _, path := range []string{"session", "nothing"} {
			_, _, h := r.ask("GET", path, "", header...)
			for key, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
				"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Access-Control-Allow-Origin": "",
			} {
				if got := h.Get(key); got != want {
					t.Errorf("%s: %s is %q, want %q", path, key, got, want)
				}
			}
		}
	}
}

type listed[T any] struct {
	Rows             []T
	From, Total, All int
}

func TestRun05ChannelsAreSearchedAndSorted(t *testing.T) {
	r := newRig(t, token)
	r.gateway.channels = nil
	for i := range 10_000 {
		r.gateway.channels = append(r.gateway.channels, console.Channel{App: "app", Name: fmt.Sprintf("Room-%05d", i), Subscriptions: i % 17, Published: uint64(i)})
	}
	var got listed[console.Channel]
	r.get("channels?limit=3", &got)
	if got.Total != 10_000 || got.All != 10_000 || len(got.Rows) != 3 || got.Rows[0].Name != "Room-00000" {
		t.Errorf("got %+v", got)
	}
	r.get("channels?sort=published&order=desc&from=9998&limit=200", &got)
	if len(got.Rows) != 2 || got.Rows[1].Published != 0 || got.From != 9998 {
		t.Errorf("the end: %+v", got)
	}
	r.get("channels?search=room-0012&sort=subscriptions&order=desc", &got)
	if got.Total != 10 || got.Rows[0].Subscriptions < got.Rows[9].Subscriptions {
		t.Errorf("search: %+v", got)
	}
	r.get("channels?app=other", &got)
	if got.Total != 0 || got.Rows == nil {
		t.Errorf("another app: %+v", got)
	}
	r.get("channels?from=99999", &got)
	if got.From != 10_000 || len(got.Rows) != 0 {
		t.Errorf("beyond the end: %+v", got)
	}
	if r.gateway.looks != 1 {
		t.Errorf("%d looks at all channels for five answers in a moment", r.gateway.looks)
	}
	for _, wrong := range []string{"limit=201", "limit=0", "limit=x", "from=-1", "sort=name", "search=" + strings.Repeat("x", 257)} {
		if status, text, _ := r.ask("GET", "channels?"+wrong, "", bearer...); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
	}
}

func TestRun05ConnectionsByLag(t *testing.T) {
	r := newRig(t, token)
	ids := func(query string) string {
		var got listed[console.Connection]
		r.get("connections?"+query, &got)
		var out []string
		for _, c := range got.Rows {
			out = append(out, c.ID)
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{
		"sort=lag&order=desc": "2.2 3.3 1.1", "only=slow": "2.2", "search=ADA": "1.1", "sort=since&order=desc": "3.3 2.2 1.1", "sort=id": "1.1 2.2 3.3",
	} {
		if got := ids(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if status, _, _ := r.ask("GET", "connection?id=9.9", "", bearer...); status != http.StatusNotFound {
		t.Errorf("no such connection: %d", status)
	}
	for _, wrong := range []string{`{"id":"1.1","return":"soon"}`, `{"id":"1.1","reason":"two\nlines"}`, `{"id":"1.1","reason":"` + strings.Repeat("x", 121) + `"}`, `{"id":"1.1","more":1}`, `{`, ``} {
		if status, text, _ := r.ask("POST", "close", wrong, bearer...); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
	}
	if status, _, _ := r.ask("POST", "close", `{"id":"9.9"}`, bearer...); status != http.StatusNotFound {
		t.Errorf("closing nobody: %d", status)
	}
}

// TestRun05HistoryIsReadInTheServer reads a private channel whose history the app hides, with data longer
// than a list shows.
func TestRun05HistoryIsReadInTheServer(t *testing.T) {
	r := newRig(t, token)
	long := strings.Repeat("ä", 4000)
	for i, data := range []string{`{"n":1}`, long, `{"n":3}`} {
		_, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: hidden, Event: &broker.Event{
			Name: "note", Data: []byte(data), Origin: broker.OriginClient, UserID: fmt.Sprint("user-", i%2), Node: "n1",
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var got struct {
		Events   []console.Event
		More     bool
		Retained struct{ Messages, Oldest, Newest uint64 }
	}
	r.get("history?app=app&channel="+hidden, &got)
	if len(got.Events) != 3 || got.Retained.Messages != 3 || got.Events[0].Data != `{"n":3}` || got.Events[0].From != "client" {
		t.Fatalf("got %+v", got)
	}
	cut := got.Events[1]
	if cut.Size != len(long) || len(cut.Data) > console.MaxShown || !strings.HasPrefix(long, cut.Data) {
		t.Errorf("the long one has %d of %d bytes", len(cut.Data), cut.Size)
	}
	r.get(fmt.Sprintf("history?app=app&channel=%s&from=%d&to=%d&limit=1", hidden, cut.Serial, cut.Serial), &got)
	if len(got.Events) != 1 || got.Events[0].Data != long {
		t.Errorf("the whole: %d events", len(got.Events))
	}
	r.get("history?app=app&channel="+hidden+"&order=asc&limit=1", &got)
	if !got.More || got.Events[0].Data != `{"n":1}` {
		t.Errorf("from the beginning: %+v", got)
	}
	var about struct {
		Publishers []struct {
			From, Node, User string
			Events           int
		}
		Cluster console.Count
		Here    console.Channel
	}
	r.get("channel?app=app&channel="+hidden, &about)
	if len(about.Publishers) != 2 || about.Publishers[0].Events != 2 || about.Publishers[0].User != "user-0" || about.Cluster.Members != 2 || about.Here.Subscriptions != 3 {
		t.Errorf("got %+v", about)
	}
	var members listed[console.Member]
	r.get("members?app=app&channel="+hidden+"&search=ADA", &members)
	if members.Total != 1 || members.All != 2 {
		t.Errorf("members: %+v", members)
	}
	for path, want := range map[string]int{
		"history?app=none&channel=x": 404, "history?app=app": 400, "history?app=app&channel=x&limit=201": 400, "history?app=app&channel=x&from=-1": 400, "history?app=app&channel=x&from=9&to=1": 400,
	} {
		if status, text, _ := r.ask("GET", path, "", bearer...); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// ranked is a log that implements [broker.Ranking].
type ranked struct{ broker.History }

func (r ranked) CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error) {
	page, err := r.Read(ctx, app, channel, broker.Query{From: offset, Limit: 1000})
	if err != nil {
		return 0, err
	}
	return uint64(len(page.Publications)), nil
}

// TestRun05LagOfWhoCatchesUp: the console counts in the log how many events a subscription is behind.
func TestRun05LagOfWhoCatchesUp(t *testing.T) {
	log, err := memory.New(memory.Options{Apps: []string{"app"}, MaxMessages: 1000, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for range 5 {
		if _, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "late", Event: &broker.Event{Name: "e", Data: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	c := console.New(console.Options{
		Gateway: &gateway{}, History: ranked{log}, Apps: func() []string { return []string{"app"} }, Refuse: func(*http.Request) string { return "" },
		LogTime: func() time.Time { return time.Now().Add(time.Minute) },
	})
	defer c.Close()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", console.Root+"connection?id=1.1", nil))
	var got struct{ Subscriptions []console.Subscription }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Subscriptions[0]; s.Channel != "late" || s.Waiting != 3 || s.Oldest < 60_000 || s.Oldest > 120_000 {
		t.Errorf("got %+v", got)
	}
}

// stream is an open event stream.
type stream struct {
	t      *testing.T
	cancel context.CancelFunc
	lines  *bufio.Scanner
	status int
	body   io.Closer
}

func (r *rig) open(path string, header ...string) *stream {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	q, _ := http.NewRequestWithContext(ctx, "GET", r.server.URL+console.Root+path, nil)
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	s := &stream{r.t, cancel, bufio.NewScanner(a.Body), a.StatusCode, a.Body}
	s.lines.Buffer(nil, 16<<20)
	r.t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	_ = s.body.Close()
}

// until reads up to an event with a name, and reports false at the end of the stream.
func (s *stream) until(name string, into any) bool {
	for s.lines.Scan() {
		if s.lines.Text() == "event: "+name && s.lines.Scan() {
			if into != nil {
				if err := json.Unmarshal([]byte(strings.TrimPrefix(s.lines.Text(), "data: ")), into); err != nil {
					s.t.Errorf("%v in %s", err, s.lines.Text())
				}
			}
			return true
		}
	}
	return false
}

func TestRun05StreamShowsOneChannelAndNothingWhenClosed(t *testing.T) {
	r := newRig(t, token)
	s := r.open("events?app=app&channel="+hidden, bearer...)
	var totals console.Totals
	if !s.until("totals", &totals) || totals.Connections != 7 {
		t.Fatalf("got %+v", totals)
	}
	show := r.gateway.shows()
	if show == nil {
		t.Fatal("the channel is not watched")
	}
	for i := range 300 {
		show(10, func() console.Event { return console.Event{Serial: uint64(i + 1), Name: "<img src=x>"} })
	}
	seen, skipped := 0, uint64(0)
	for seen+int(skipped) < 300 {
		var group struct {
			Events  []console.Event
			Skipped uint64
		}
		if !s.until("live", &group) {
			t.Fatalf("ended after %d and %d", seen, skipped)
		}
		seen, skipped = seen+len(group.Events), skipped+group.Skipped
		if skipped < 44 && seen >= 256 {
			show(10, func() console.Event { return console.Event{} }) // the next group carries the number of skipped events
		}
	}
	if seen < 256 || r.console.Skipped() != skipped {
		t.Errorf("%d shown, %d skipped, counted %d", seen, skipped, r.console.Skipped())
	}
	s.close()
	await(t, "the channel is let go", func() bool { return r.gateway.shows() == nil && r.console.Streams() == 0 })
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestRun05WhatWaitsForAPageIsBoundedInBytes(t *testing.T) {
	r := newRig(t, token)
	s := r.open("events?app=app&channel="+hidden, bearer...)
	s.until("totals", nil)
	block, blocked := make(chan struct{}), make(chan struct{})
	show := r.gateway.shows()
	show(1, func() console.Event { close(blocked); <-block; return console.Event{} })
	<-blocked
	for range 10 {
		show(1<<20, func() console.Event { return console.Event{} })
	}
	close(block)
	if got := r.console.Skipped(); got != 6 {
		t.Errorf("%d of ten events with a mebibyte were skipped, want 6", got)
	}
}

func TestRun05StreamsAreBoundedAndEnd(t *testing.T) {
	r := newRig(t, token)
	cookie := r.login()
	for range 7 {
		if s := r.open("events", bearer...); s.status != 200 {
			t.Fatalf("status %d", s.status)
		}
	}
	mine := r.open("events", "Cookie", cookie)
	if mine.status != 200 {
		t.Fatalf("the eighth: %d", mine.status)
	}
	if s := r.open("events", bearer...); s.status != http.StatusServiceUnavailable {
		t.Errorf("the ninth: %d", s.status)
	}
	// Logging out ends the stream of the session.
	r.ask("POST", "logout", "{}", "Cookie", cookie)
	await(t, "the stream of the session ends", func() bool { return r.console.Streams() == 7 })
	for mine.lines.Scan() {
	}
	// A server that stops ends all streams with an event.
	s := r.open("events", bearer...)
	s.until("totals", nil)
	r.console.Close()
	if !s.until("end", nil) {
		t.Error("the end was not told")
	}
	if s := r.open("events", bearer...); s.status != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d", s.status)
	}
}

func TestRun05WithoutATokenRefuseDecides(t *testing.T) {
	r := newRig(t, "")
	if status, _, _ := r.ask("GET", "channels", ""); status != 200 {
		t.Errorf("status %d", status)
	}
	if status, text, _ := r.ask("GET", "channels", "", "Host", "evil.example"); status != http.StatusForbidden || strings.Contains(text, hidden) {
		t.Errorf("another name: %d %s", status, text)
	}
}
