package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/web"
	"github.com/sluicehq/sluice/kv"
)

const consoleToken = "a-token-of-an-operator"

// withConsole gives the console a listener of its own.
func withConsole(secret app.Secret, hosts ...string) func(*gateway.Options) {
	return func(o *gateway.Options) {
		o.Console = &gateway.ConsoleOptions{Listen: "127.0.0.1:0", Token: secret, Hosts: hosts, Page: web.Console("v1")}
		o.Table, o.Name, o.Version = kv.NewMemoryTable(nil), "this-gateway", "v1"
		a := o.Apps.ByID("app")
		a.UserAuth, a.ClientEvents = true, true
		a.Delta = app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100}
		o.Hub.DeltaEnabled = true
	}
}

// api requests data from the console on its own listener.
func (r *running) api(path string, into any) {
	r.t.Helper()
	status, text := r.request("GET", "http://"+r.ConsoleAddr()+console.Root+path, "", "Authorization", "Bearer "+consoleToken)
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", path, status, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		r.t.Fatalf("%s: %v in %s", path, err, text)
	}
}

// member connects a client and subscribes it to channels as a user.
func (r *running) member(user string, channels ...string) *client.Client {
	r.t.Helper()
	c, err := client.Dial(r.t.Context(), client.Options{URL: "http://" + r.Addr(), Key: "key", Delta: true, Auth: func(socket, channel string) (string, string, error) {
		data := ""
		if strings.HasPrefix(channel, "presence-") {
			data = fmt.Sprintf(`{"user_id":%q,"user_info":{"name":"<b>%s</b>"}}`, user, user)
		}
		return "key:" + pusher.SignChannel("secret", socket, channel, data, data != ""), data, nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	for _, channel := range channels {
		if err := c.Subscribe(r.t.Context(), channel); err != nil {
			r.t.Fatal(err)
		}
	}
	return c
}

func (r *running) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			r.t.Fatalf("never: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (r *running) publish(channel, data string) {
	r.t.Helper()
	if _, err := r.log.Publish(r.t.Context(), "app", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "note", Data: []byte(data), Origin: broker.OriginHTTP}}); err != nil {
		r.t.Fatal(err)
	}
}

// TestRun05TheConsoleSeesPrivateAndPresenceChannels: the console shows channels for which clients need a
// signature, without one.
func TestRun05TheConsoleSeesPrivateAndPresenceChannels(t *testing.T) {
	r := run(t, withConsole(consoleToken))
	a := r.member("ada", "presence-room", "private-orders")
	r.member("bob", "presence-room")
	var channels struct{ Rows []console.Channel }
	r.until("both channels are listed", func() bool {
		r.api("channels", &channels)
		return len(channels.Rows) == 2 && channels.Rows[0].Subscriptions == 2
	})
	var members struct{ Rows []console.Member }
	r.api("members?app=app&channel=presence-room", &members)
	if len(members.Rows) != 2 || members.Rows[0].ID != "ada" || !strings.Contains(members.Rows[1].Info, "bob") {
		t.Errorf("members: %v", members.Rows)
	}
	resp := r.stream("events?app=app&channel=private-orders")
	long := strings.Repeat("the same text again and again ", 10)
	for i := range 3 {
		r.publish("private-orders", fmt.Sprintf(`{"n":%d,"text":%q}`, i, long))
	}
	var events []console.Event
	for len(events) < 3 {
		events = append(events, resp.live()...)
	}
	if events[0].Form != "full" || events[0].Wire != events[0].Full || events[1].Form != "delta" || events[1].Wire >= events[1].Full/2 {
		t.Errorf("the first: %+v\nthe second: %+v", events[0], events[1])
	}
	// The sizes shown by the console are those that the subscriber gets.
	for i := range 3 {
		e := <-a.Events()
		if isDelta := e.Form == client.Delta; isDelta != (events[i].Form == "delta") || e.WireBytes != events[i].Wire || e.FullBytes != events[i].Full {
			t.Errorf("event %d came with %d of %d bytes, the console says %+v", i, e.WireBytes, e.FullBytes, events[i])
		}
	}
	r.until("the cluster has both", func() bool {
		var about struct{ Cluster console.Count }
		r.api("channel?app=app&channel=presence-room", &about)
		return about.Cluster == (console.Count{Subscriptions: 2, Members: 2})
	})
	// A channel that is not attached here can be viewed, and is detached afterwards.
	r.publish("private-old", `{"n":1}`)
	var history struct{ Events []console.Event }
	r.api("history?app=app&channel=private-old", &history)
	if len(history.Events) != 1 || history.Events[0].From != "http" {
		t.Errorf("history: %+v", history)
	}
	for _, name := range []string{"not+a+channel", strings.Repeat("x", 201)} {
		status, text := r.request("GET", "http://"+r.ConsoleAddr()+console.Root+"events?app=app&channel="+name, "", "Authorization", "Bearer "+consoleToken)
		if status != http.StatusBadRequest || !strings.Contains(text, "invalid_request") {
			t.Errorf("following %s: %d %s", name, status, text)
		}
	}
}

// watched is an event stream of the console.
type watched struct {
	t     *testing.T
	lines *bufio.Scanner
}

func (r *running) stream(path string) *watched {
	r.t.Helper()
	q, _ := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.ConsoleAddr()+console.Root+path, nil)
	q.Header.Set("Authorization", "Bearer "+consoleToken)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%v, %v", resp, err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	w := &watched{r.t, bufio.NewScanner(resp.Body)}
	for w.lines.Scan() && w.lines.Text() != "event: totals" {
	}
	return w
}

// live returns the events of the next group.
func (w *watched) live() []console.Event {
	for w.lines.Scan() {
		if w.lines.Text() == "event: live" && w.lines.Scan() {
			var group struct{ Events []console.Event }
			if err := json.Unmarshal([]byte(strings.TrimPrefix(w.lines.Text(), "data: ")), &group); err != nil {
				w.t.Fatal(err)
			}
			return group.Events
		}
	}
	w.t.Fatal("the stream ended")
	return nil
}

// TestRun05LagOfASocketThatDoesNotRead: the console tells a slow socket from others, and can close it with a
// reason.
func TestRun05LagOfASocketThatDoesNotRead(t *testing.T) {
	r := run(t, func(o *gateway.Options) {
		withConsole(consoleToken)(o)
		o.Hub.SendBuffer, o.Hub.SlowAge, o.Hub.QueueBytes = 4096, patience, 64<<20
	})
	reader := r.member("ada", "news")
	go func() {
		for range reader.Events() {
		}
	}()
	lazy, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer lazy.Close()
	_ = lazy.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(lazy, "GET /app/key?protocol=7 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", r.Addr())
	subscribe := `{"event":"pusher:subscribe","data":{"channel":"news"}}`
	frame := append([]byte{0x81, 0x80 | byte(len(subscribe)), 0, 0, 0, 0}, subscribe...)
	if _, err := lazy.Write(frame); err != nil {
		t.Fatal(err)
	}
	var list struct{ Rows []console.Connection }
	r.until("both have subscribed", func() bool {
		r.api("connections", &list)
		return len(list.Rows) == 2 && list.Rows[0].Subscriptions+list.Rows[1].Subscriptions == 2
	})
	const most = 4000
	var slow console.Connection
	for n := 0; slow.Events <= 2; n++ {
		if n == most {
			t.Fatal("nobody is slow")
		}
		r.publish("news", strings.Repeat("x", 4000))
		r.api("connections?only=slow&sort=lag&order=desc", &list)
		for _, row := range list.Rows {
			if row.ID != reader.SocketID() { // which may be behind for a moment
				slow = row
			}
		}
	}
	r.until("it is behind for some time, and the other one is not", func() bool {
		// Frames that are late only because the machine is busy leave, until the kernel takes no more.
		r.publish("news", strings.Repeat("x", 4000))
		r.api("connections?only=slow&sort=lag&order=desc", &list)
		return len(list.Rows) == 1 && list.Rows[0].ID == slow.ID && list.Rows[0].Oldest >= 50 && list.Rows[0].Blocked > 0
	})
	if got := list.Rows[0]; got.ID == reader.SocketID() || got.Events == 0 || got.Bytes == 0 {
		t.Errorf("got %+v", got)
	}
	var one struct{ Subscriptions []console.Subscription }
	r.api("connection?id="+slow.ID, &one)
	if len(one.Subscriptions) != 1 || one.Subscriptions[0].Channel != "news" {
		t.Errorf("got %+v", one)
	}
}

func TestRun05ClosingTellsTheReason(t *testing.T) {
	r := run(t, withConsole(consoleToken))
	for back, code := range map[string]pusher.CloseCode{"at_once": 4200, "later": 4100, "never": 4009} {
		c := r.member("ada", "news")
		status, text := r.request("POST", "http://"+r.ConsoleAddr()+console.Root+"close", fmt.Sprintf(`{"id":%q,"reason":"moving house","return":%q}`, c.SocketID(), back),
			"Authorization", "Bearer "+consoleToken, "Content-Type", "application/json")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", back, status, text)
		}
		<-c.Done()
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "moving house") || !strings.Contains(err.Error(), fmt.Sprint(int(code))) {
			t.Errorf("%s: the client ended with %v", back, err)
		}
	}
}

// TestRun05WhoReachesTheConsole requests the page and data under all kinds of host names.
func TestRun05WhoReachesTheConsole(t *testing.T) {
	guarded := run(t, withConsole(consoleToken, "ops.example"))
	open := run(t, withConsole("", "ops.example"))
	development := run(t, func(o *gateway.Options) {
		withConsole("")(o)
		o.Console.Listen, o.Unsigned, o.Local, o.Hosts = "", true, true, []string{"ops.example"}
		o.Page = web.Handler(web.Options{AppID: "app", AppKey: "key", Console: true})
	})
	production := run(t, func(o *gateway.Options) {
		withConsole("")(o)
		o.Console = nil
		o.Page = web.Handler(web.Options{AppID: "app", AppKey: "key"})
	})
	auth := []string{"Authorization", "Bearer " + consoleToken}
	for _, c := range []struct {
		name   string
		header []string
		// the status with a token, without a token, and of a development server
		guarded, open, development int
	}{
		{"this machine", nil, 200, 200, 200},
		{"by name", []string{"Host", "localhost:1"}, 200, 200, 200},
		{"by a configured name", []string{"Host", "ops.example"}, 200, 200, 403},
		{"by an address", []string{"Host", "192.0.2.7:9602"}, 200, 403, 403},
		{"by IPv6", []string{"Host", "[2001:db8::7]"}, 200, 403, 403},
		{"another name, as after rebinding", []string{"Host", "evil.example"}, 403, 403, 403},
		{"a name that begins like an address", []string{"Host", "127.0.0.1.evil.example"}, 403, 403, 403},
		{"the page of another site", []string{"Origin", "http://evil.example"}, 200, 403, 403},
		{"what another site embeds", []string{"Sec-Fetch-Site", "cross-site"}, 200, 403, 403},
		{"somebody behind a proxy here", []string{"X-Forwarded-For", "192.0.2.7"}, 200, 403, 403},
	} {
		for _, side := range []struct {
			name, address string
			header        []string
			want          int
		}{
			{"guarded", guarded.ConsoleAddr(), append(auth, c.header...), c.guarded}, {"open", open.ConsoleAddr(), c.header, c.open},
			{"development", development.Addr(), c.header, c.development},
		} {
			if got, text := guarded.request("GET", "http://"+side.address+console.Root+"channels", "", side.header...); got != side.want {
				t.Errorf("%s: %s answers %d, want %d: %s", c.name, side.name, got, side.want, text)
			}
		}
	}
	// A page of another site may send requests to a guarded console, but has neither session nor token and
	// cannot read the responses.
	if got, _ := guarded.request("GET", "http://"+guarded.ConsoleAddr()+console.Root+"channels", ""); got != http.StatusUnauthorized {
		t.Errorf("without the token: %d", got)
	}
	for what, c := range map[string]struct {
		url  string
		want int
	}{
		"the console of a production server on the main port": {production.Addr() + "/console/", 404},
		"its API there": {production.Addr() + console.Root + "channels", 404},
		"the API of a guarded one on the main port":                   {guarded.Addr() + console.Root + "channels", 404},
		"the page of a guarded one":                                   {guarded.ConsoleAddr() + "/console/", 200},
		"the API of apps on the console's listener":                   {guarded.ConsoleAddr() + "/apps/app/channels", 404},
		"metrics there":                                               {guarded.ConsoleAddr() + "/metrics", 404},
		"a socket there":                                              {guarded.ConsoleAddr() + "/app/key", 404},
		"the page of a development server":                            {development.Addr() + "/console/", 200},
		"the page by which one tries a development server out, still": {development.Addr() + "/", 200},
	} {
		if got, _ := guarded.request("GET", "http://"+c.url, ""); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	if got, _ := guarded.request("GET", "http://"+guarded.ConsoleAddr()+"/console/", "", "Host", "evil.example"); got != http.StatusForbidden {
		t.Errorf("the page by another name: %d", got)
	}
}

// TestRun05AStopEndsThePages: a stop of the node ends open pages and does not wait for them.
func TestRun05AStopEndsThePages(t *testing.T) {
	r := run(t, withConsole(consoleToken))
	w := r.stream("events?app=app&channel=private-x")
	r.stop()
	for w.lines.Scan() {
		if w.lines.Text() == "event: end" {
			return
		}
	}
	t.Error("the page was not told")
}

func TestRun05TheClusterIsShown(t *testing.T) {
	r := run(t, withConsole(consoleToken))
	var got console.Cluster
	r.api("cluster", &got)
	if len(got.Gateways) != 1 || !got.Gateways[0].Self || got.Gateways[0].Version != "v1" || got.Gateways[0].ID != "this-gateway" || !got.Ready || got.Backend != "memory" || got.Problems == nil || got.Differ == nil || got.Streams == nil {
		t.Errorf("got %+v", got)
	}
	r.log.sick.Store(true)
	r.api("cluster", &got)
	if got.Ready || len(got.Problems) != 1 {
		t.Errorf("a sick log: %+v", got)
	}
}

// TestRun06ProfilesAreForThisMachine: the profiler has an address of its own and serves only this machine.
func TestRun06ProfilesAreForThisMachine(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.Pprof = "127.0.0.1:0" })
	for name, c := range map[string]struct {
		header []string
		want   int
	}{
		"this machine": {nil, 200}, "another name": {[]string{"Host", "evil.example"}, 403}, "another site": {[]string{"Origin", "http://evil.example"}, 403}, "through a proxy": {[]string{"X-Forwarded-For", "192.0.2.7"}, 403},
	} {
		for _, path := range []string{"", "goroutine?debug=1", "cmdline", "heap?debug=1"} {
			if got, text := r.request("GET", "http://"+r.PprofAddr()+"/debug/pprof/"+path, "", c.header...); got != c.want {
				t.Errorf("%s: %q: %d %.80s", name, path, got, text)
			}
		}
	}
	for _, at := range []string{r.Addr(), r.MetricsAddr()} {
		if got, _ := r.request("GET", "http://"+at+"/debug/pprof/", ""); got != http.StatusNotFound {
			t.Errorf("%s has profiles: %d", at, got)
		}
	}
}

// TestConsolesOfOneHostKeepTheirSessions: a browser sends the cookies of a host to all of its ports. Logging
// in to one console must not end the session of another, and neither must logging out.
func TestConsolesOfOneHostKeepTheirSessions(t *testing.T) {
	one, two := run(t, withConsole(consoleToken)), run(t, withConsole(consoleToken))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	defer browser.CloseIdleConnections()
	ask := func(r *running, route, body string) int {
		t.Helper()
		address, method := "http://"+r.ConsoleAddr()+console.Root+route, http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		q, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		a, err := browser.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		return a.StatusCode
	}
	login := fmt.Sprintf(`{"token":%q}`, consoleToken)
	for _, r := range []*running{one, two, one} {
		if status := ask(r, "login", login); status != http.StatusOK {
			t.Fatalf("login: %d", status)
		}
	}
	if a, b := ask(one, "session", ""), ask(two, "session", ""); a != 200 || b != 200 {
		t.Errorf("logged in to both, and the sessions are answered %d and %d", a, b)
	}
	if status := ask(one, "logout", "{}"); status != http.StatusOK {
		t.Fatalf("logout: %d", status)
	}
	if a, b := ask(one, "session", ""), ask(two, "session", ""); a != 401 || b != 200 {
		t.Errorf("logged out of the first, and the sessions are answered %d and %d", a, b)
	}
}
