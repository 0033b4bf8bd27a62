package hub

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// reader reads an event stream as browsers do.
type reader struct {
	t      *testing.T
	conn   net.Conn
	resp   *http.Response
	events chan sse
	ended  chan struct{}
}

// sse is one dispatched event. last is the id after it.
type sse struct {
	kind, data, last string
	retry            string
}

// get requests an event stream; lines are further headers.
func (r *rig) get(query string, lines ...string) *reader {
	r.t.Helper()
	return getEvents(r.t, strings.TrimPrefix(r.server.URL, "http://"), "GET /app/key/events?"+query, lines...)
}

func getEvents(t *testing.T, address, what string, lines ...string) *reader {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	rd := &reader{t: t, conn: conn, events: make(chan sse, 100000), ended: make(chan struct{})}
	t.Cleanup(rd.hangUp)
	if _, err := io.WriteString(conn, what+" HTTP/1.1\r\nHost: localhost\r\n"+strings.Join(append(lines, "", ""), "\r\n")); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if rd.resp, err = http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	if rd.resp.StatusCode == http.StatusOK {
		go rd.read(bufio.NewReader(rd.resp.Body))
	} else {
		close(rd.ended)
		close(rd.events)
	}
	return rd
}

func (rd *reader) hangUp() { _ = rd.conn.Close(); <-rd.ended }

// read is the algorithm of section 9.2.6 of the HTML standard.
func (rd *reader) read(br *bufio.Reader) {
	defer close(rd.ended)
	defer close(rd.events)
	var e sse
	var data []string
	last := ""
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			e.last = last
			if len(data) > 0 {
				e.data = strings.Join(data, "\n")
				rd.events <- e
			}
			e, data = sse{retry: e.retry}, nil
		case strings.HasPrefix(line, ":"):
			if line == ":" {
				continue
			}
		case name == "event":
			e.kind = value
		case name == "data":
			data = append(data, value)
		case name == "id":
			last = value
		case name == "retry":
			e.retry = value
		default:
			rd.t.Errorf("the stream has the line %q", line)
		}
	}
}

func (rd *reader) next() sse {
	rd.t.Helper()
	if rd.resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(rd.resp.Body)
		rd.t.Fatalf("answered %s: %s", rd.resp.Status, body)
	}
	select {
	case e, ok := <-rd.events:
		if !ok {
			rd.t.Fatal("the stream ended instead of an event")
		}
		return e
	case <-time.After(patience):
		rd.t.Fatal("no event came")
	}
	panic("unreachable")
}

func (rd *reader) want(kind string) sse {
	rd.t.Helper()
	e := rd.next()
	if e.kind != kind {
		rd.t.Fatalf("got %+v, want event %q", e, kind)
	}
	return e
}

// takes reads n events and returns their channels and data, and the last id.
func (rd *reader) takes(n int) (got []string, last string) {
	rd.t.Helper()
	for range n {
		e := rd.next()
		var m message
		if err := json.Unmarshal([]byte(e.data), &m); err != nil {
			rd.t.Fatalf("%+v: %v", e, err)
		}
		if m.Event == "" || m.Event != e.kind {
			rd.t.Fatalf("after %d events: got %+v, want an event", len(got), e)
		}
		got, last = append(got, m.Channel+" "+m.str()), e.last
	}
	return got, last
}

// refused reads an error response.
func (rd *reader) refused(status int, code string) string {
	rd.t.Helper()
	body, err := io.ReadAll(rd.resp.Body)
	if err != nil {
		rd.t.Fatal(err)
	}
	var said struct {
		Error, Code string
		Status      int
	}
	if err := json.Unmarshal(body, &said); err != nil || rd.resp.StatusCode != status || said.Code != code || said.Status != status {
		rd.t.Fatalf("answered %s: %s (%v), want %d %s", rd.resp.Status, body, err, status, code)
	}
	return said.Error
}

// TestTime04StreamOfOneChannel: a reader gets the response headers, the position at which it begins, and then
// publications in the form of V2, with ids to resume from.
func TestTime04StreamOfOneChannel(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	r.publish("news", "flash", "before")
	rd := r.get("channel=news", "Origin: https://example.com")
	want := http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-store"}, "X-Accel-Buffering": {"no"},
		"Access-Control-Allow-Origin": {"*"},
	}
	for name := range want {
		if got := rd.resp.Header[name]; !cmp.Equal(got, want[name]) {
			t.Errorf("%s is %q, want %q", name, got, want[name])
		}
	}
	begin := rd.want("subscribed")
	var at struct {
		Channel string `json:"channel"`
		position
	}
	if err := json.Unmarshal([]byte(begin.data), &at); err != nil || at.Channel != "news" || begin.last != fmt.Sprintf("%s:%d", at.Stream, at.Serial) || begin.retry == "" {
		t.Fatalf("subscribed: %+v, %v", begin, err)
	}
	receipt := r.publish("news", "flash", "line one\nline two")
	e := rd.want("flash")
	var m message
	if err := json.Unmarshal([]byte(e.data), &m); err != nil || m.Event != "flash" || m.Channel != "news" || m.str() != "line one\nline two" ||
		m.MessageID == "" || m.Serial != receipt.Position.Offset || e.last != fmt.Sprintf("%s:%d", m.StreamID, m.Serial) {
		t.Errorf("the event: %+v, %v", e, err)
	}
	// A name that cannot be an event type is only in the data.
	for _, name := range []string{"gap", "error", "two\nid: 9:9", "subscribed", "open", "cr\rdata: x"} {
		r.publish("news", name, "x")
		e := rd.want("")
		if err := json.Unmarshal([]byte(e.data), &m); err != nil || m.Event != name {
			t.Errorf("an event called %q: %+v, %v", name, e, err)
		}
	}
	// JSON of clients may contain line breaks.
	r.publish("news", "client-note", "{\"a\":\r\n 1,\r\n\n\"b\":2}", func(e *broker.Event) { e.Origin = broker.OriginClient })
	e = rd.want("client-note")
	if err := json.Unmarshal([]byte(e.data), &m); err != nil || string(m.Data) != "{\"a\":\n 1,\n\n\"b\":2}" {
		t.Errorf("data with lines: %q, %v", e.data, err)
	}
	if got := r.number("sockudo_connected"); got != 1 {
		t.Errorf("%v connections", got)
	}
	if got := r.number("sockudo_event_streams"); got != 1 {
		t.Errorf("%v streams", got)
	}
	_ = rd.conn.Close()
	eventually(t, "the reader is gone", func() bool {
		return r.number("sockudo_connected") == 0 && r.number("sockudo_event_streams") == 0 && r.readers("news") == 0
	})
}

// TestTime04ComesBack: a reader that reconnects with its last id gets each missed event once, from any
// gateway, even if it reads several channels and was further in one than in another.
func TestTime04ComesBack(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	other := r.another()
	rd := r.get("channel=a&channel=b&channel=c")
	for range 3 {
		rd.want("subscribed")
	}
	r.publish("a", "e", "a1")
	r.publish("b", "e", "b1")
	// Events of different channels have no order.
	first, last := rd.takes(2)
	slices.Sort(first)
	if want := []string{"a a1", "b b1"}; !cmp.Equal(first, want) {
		t.Fatalf("got %q, want %q", first, want)
	}
	_ = rd.conn.Close()
	r.publish("c", "e", "c1")
	r.publish("a", "e", "a2")
	r.publish("a", "e", "a3")
	for name, ask := range map[string]func() *reader{
		"by the header": func() *reader { return other.get("channel=a&channel=b&channel=c", "Last-Event-ID: "+last) },
		"by the query": func() *reader {
			return other.get("channel=a&channel=b&channel=c&since=" + url.QueryEscape(last))
		},
		"the header says more": func() *reader {
			return other.get("channel=a&channel=b&channel=c&since=1", "Last-Event-ID: "+last)
		},
	} {
		rd := ask()
		got := map[string][]string{}
		subscribed, resumed := 0, 0
		end := ""
		for resumed == 0 {
			switch e := rd.next(); e.kind {
			case "subscribed":
				subscribed++
			case "resumed":
				resumed++
				end = e.last
				var s summary
				if err := json.Unmarshal([]byte(e.data), &s); err != nil || len(s.Recovered) != 3 || len(s.Failed) != 0 {
					t.Errorf("%s: resumed: %s, %v", name, e.data, err)
				}
			default:
				var m message
				_ = json.Unmarshal([]byte(e.data), &m)
				got[m.Channel] = append(got[m.Channel], m.str())
			}
		}
		if want := map[string][]string{"a": {"a2", "a3"}, "c": {"c1"}}; !cmp.Equal(got, want) || subscribed != 3 {
			t.Errorf("%s: got %v, want %v; %d times subscribed", name, got, want, subscribed)
		}
		places, err := pusher.ParsePlaces(end, []string{"a", "b", "c"})
		if err != nil || places[0].Serial != 5 || places[1].Serial != 2 || places[2].Serial != 3 {
			t.Errorf("%s: the last id is %q: %v %v", name, end, places, err)
		}
		_ = rd.conn.Close()
	}
}

// TestTime04GapsAreEvents: a gap is an event, and the reader is live after it.
func TestTime04GapsAreEvents(t *testing.T) {
	r := timeRig(t, memory.Options{MaxMessages: 2}, nil)
	rd := r.get("channel=a")
	begin := rd.want("subscribed").last
	_ = rd.conn.Close()
	for i := range 5 {
		r.publish("a", "e", fmt.Sprint(i))
	}
	r = r.another() // which has nothing in memory
	stream, _, _ := strings.Cut(begin, ":")
	for id, code := range map[string]pusher.FailureCode{
		begin:                        pusher.PositionExpired,
		"another:1":                  pusher.StreamReset,
		stream + ":99":               pusher.ContinuityUnverifiable,
		stream + ":9007199254740991": pusher.ContinuityUnverifiable,
	} {
		rd := r.get("channel=a", "Last-Event-ID: "+id)
		var live string
		var told []failure
		for range 3 { // gap, subscribed and resumed, in any order
			switch e := rd.next(); e.kind {
			case "gap":
				var f failure
				if err := json.Unmarshal([]byte(e.data), &f); err != nil {
					t.Fatal(err)
				}
				told = append(told, f)
				live = e.last
			case "subscribed", "resumed":
				if e.last != "" {
					live = e.last
				}
			default:
				t.Fatalf("%s: got %+v", id, e)
			}
		}
		if len(told) != 1 || told[0].Code != string(code) || told[0].Channel != "a" {
			t.Errorf("%s: told %+v, want one %s", id, told, code)
		}
		if live != stream+":5" {
			t.Errorf("%s: the id is %q then, want where it is live", id, live)
		}
		r.publish("b", "e", "elsewhere")
		_ = rd.conn.Close()
	}
	if got := r.number("sockudo_resumes_total", "outcome", "position_expired"); got != 1 {
		t.Errorf("%v resumes had expired", got)
	}
}

// TestTime04BeginsWithThePast: a reader may begin with a number of past events, a time span, or the newest
// event of each value.
func TestTime04BeginsWithThePast(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		a.Delta.Path, o.Filters = "k", true
	})
	for i := range 4 {
		r.publish("a", "e", fmt.Sprintf(`{"k":%d,"n":%d}`, i%2, i))
	}
	numbers := func(rd *reader, n int) (got []int) {
		for range n {
			var m message
			var d struct{ N int }
			e := rd.want("e")
			_ = json.Unmarshal([]byte(e.data), &m)
			_ = json.Unmarshal([]byte(m.str()), &d)
			got = append(got, d.N)
		}
		return got
	}
	for since, want := range map[string][]int{"3": {1, 2, 3}, "1h": {0, 1, 2, 3}, "latest": {2, 3}} {
		rd := r.get("channel=a&since=" + since)
		if e := rd.want("subscribed"); e.last != "" {
			t.Errorf("%s: it has the id %q before it has the past", since, e.last)
		}
		if got := numbers(rd, len(want)); !cmp.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", since, got, want)
		}
		end := "rewind_complete"
		if since == "latest" {
			end = "snapshot_complete"
		}
		if e := rd.want(end); !strings.HasPrefix(e.data, `{"channel":"a",`) {
			t.Errorf("%s ends with %s", since, e.data)
		}
		_ = rd.conn.Close()
	}
	rd := r.get("channel=a&filter=" + url.QueryEscape(`{"events":["wanted"]}`))
	rd.want("subscribed")
	r.publish("a", "e", "{}")
	r.publish("a", "wanted", "{}")
	rd.want("wanted")
}

// TestTime04Refusals: an invalid request gets an error response that names the mistake, instead of a stream.
func TestTime04Refusals(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) {
		a.Origins = []string{"https://good.example"}
		a.Limits.MaxConnections = 2
	})
	soon := time.Now().Add(time.Minute).Unix()
	signed := func(expires int64, names ...string) string {
		return "&expires=" + fmt.Sprint(expires) + "&token=" + pusher.SignEvents("key", "secret", names, expires)
	}
	many := strings.Repeat("&channel=x", 10000)
	lots := ""
	for i := range 200 {
		lots += fmt.Sprintf("&channel=c%d", i)
	}
	for name, c := range map[string]struct {
		query  string
		lines  []string
		status int
		code   string
		says   string
	}{
		"no channel":             {"", nil, 400, "invalid_input", "channel is missing"},
		"an empty name":          {"channel=", nil, 400, "invalid_input", "channel"},
		"a bad name":             {"channel=%0a", nil, 400, "invalid_input", "channel"},
		"a long name":            {"channel=" + strings.Repeat("x", 300), nil, 400, "invalid_input", "limit is 200"},
		"the same twice":         {"channel=a&channel=a", nil, 400, "invalid_input", "twice"},
		"ten thousand":           {"channel=a" + many, nil, 400, "invalid_input", "channel"},
		"two hundred":            {lots[1:], nil, 400, "invalid_input", "more than 100"},
		"an unknown parameter":   {"channel=a&chanel=b", nil, 400, "invalid_input", "chanel"},
		"since twice":            {"channel=a&since=1&since=2", nil, 400, "invalid_input", "since"},
		"an absurd number":       {"channel=a&since=99999999999999999999", nil, 400, "invalid_input", "since"},
		"none":                   {"channel=a&since=0", nil, 400, "invalid_input", "since"},
		"a negative time":        {"channel=a&since=-3s", nil, 400, "invalid_input", "since"},
		"an absurd time":         {"channel=a&since=1000000h", nil, 400, "invalid_input", "since"},
		"a word":                 {"channel=a&since=yesterday", nil, 400, "invalid_input", "since"},
		"a forged id":            {"channel=a", []string{"Last-Event-ID: x:y"}, 400, "invalid_input", "Last-Event-ID"},
		"an id without stream":   {"channel=a&since=:4", nil, 400, "invalid_input", "since"},
		"a serial too large":     {"channel=a&since=s:9007199254740992", nil, 400, "invalid_input", "since"},
		"an id of one channel":   {"channel=a&channel=b&since=s:4", nil, 400, "invalid_input", "since"},
		"an id of others":        {"channel=a&channel=b&since=s:4,4%3B00000000", nil, 400, "invalid_input", "since"},
		"an id that is no text":  {"channel=a&since=%25FF%25FE:4", nil, 400, "invalid_input", "since"},
		"an id with a NUL":       {"channel=a", []string{"Last-Event-ID: %00:4"}, 400, "invalid_input", "Last-Event-ID"},
		"an id with lines":       {"channel=a", []string{"Last-Event-ID: s%0d%0adata%3A%20x:4"}, 400, "invalid_input", "Last-Event-ID"},
		"a long id":              {"channel=a", []string{"Last-Event-ID: s:" + strings.Repeat("1", 3000)}, 400, "invalid_input", "Last-Event-ID"},
		"a filter cut off":       {"channel=a&filter=" + url.QueryEscape(`{"events":["goal"`), nil, 400, "invalid_input", "filter is not a JSON object"},
		"a bad filter":           {"channel=a&filter=7", nil, 400, "invalid_input", "filter"},
		"presence":               {"channel=presence-a" + signed(soon, "presence-a"), nil, 403, "forbidden", "presence-a"},
		"encrypted":              {"channel=private-encrypted-a" + signed(soon, "private-encrypted-a"), nil, 403, "forbidden", "private-encrypted-a"},
		"of a user":              {"channel=%23server-to-user-a", nil, 403, "forbidden", "#server-to-user-a"},
		"private without token":  {"channel=private-a", nil, 401, "auth_failed", "token is missing"},
		"a wrong token":          {"channel=private-a&expires=" + fmt.Sprint(soon) + "&token=00", nil, 401, "auth_failed", "signature"},
		"of another channel":     {"channel=private-a" + signed(soon, "private-b"), nil, 401, "auth_failed", "signature"},
		"of two that are joined": {"channel=private-a&channel=private-b" + signed(soon, "private-a,private-b"), nil, 401, "auth_failed", "signature"},
		"in another order":       {"channel=private-a&channel=b" + signed(soon, "b", "private-a"), nil, 401, "auth_failed", "signature"},
		"an old token":           {"channel=private-a" + signed(time.Now().Unix()-1, "private-a"), nil, 401, "auth_failed", "expired"},
		"a token for ever":       {"channel=private-a" + signed(time.Now().Add(25*time.Hour).Unix(), "private-a"), nil, 401, "auth_failed", "a day"},
		"a token for more":       {"channel=private-a" + signed(time.Now().Add(24*time.Hour+pusher.Window+time.Minute).Unix(), "private-a"), nil, 401, "auth_failed", "a day"},
		"a strange page":         {"channel=a", []string{"Origin: https://evil.example"}, 403, "forbidden", "allowed_origins"},
	} {
		t.Run(name, func(t *testing.T) {
			rd := getEvents(t, strings.TrimPrefix(r.server.URL, "http://"), "GET /app/key/events?"+c.query, c.lines...)
			if got := rd.refused(c.status, c.code); !strings.Contains(got, c.says) {
				t.Errorf("says %q, want it to name %q", got, c.says)
			}
			if rd.resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("a page may read it that did not ask, or must not")
			}
		})
	}
	address := strings.TrimPrefix(r.server.URL, "http://")
	getEvents(t, address, "GET /app/nobody/events?channel=a").refused(404, "not_found")
	getEvents(t, address, "GET /app/off-key/events?channel=a").refused(403, "forbidden")
	getEvents(t, address, "POST /app/key/events?channel=a", "Content-Length: 0").refused(405, "method_not_allowed")
	if got := r.number("sockudo_connected"); got != 0 {
		t.Errorf("%v connections are left", got)
	}

	good := "Origin: https://good.example"
	pre := getEvents(t, address, "OPTIONS /app/key/events?channel=a", good, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: last-event-id")
	if h := pre.resp.Header; pre.resp.StatusCode != 204 || h.Get("Access-Control-Allow-Origin") != "https://good.example" ||
		!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Last-Event-ID") || h.Get("Access-Control-Allow-Methods") != "GET" || h.Get("Vary") != "Origin" {
		t.Errorf("preflight: %s %v", pre.resp.Status, h)
	}
	// The clock of the signer, who signed for a day, was ahead.
	ahead := r.get("channel=private-a"+signed(time.Now().Add(24*time.Hour+pusher.Window-time.Minute).Unix(), "private-a"), good)
	ahead.want("subscribed")
	ahead.hangUp()
	eventually(t, "it is gone", func() bool { return r.number("sockudo_connected") == 0 })
	private := r.get("channel=b&channel=private-a"+signed(soon, "b", "private-a"), good)
	private.want("subscribed")
	private.want("subscribed")
	r.publish("private-a", "e", "secret")
	private.takes(1)
	r.connect()
	over := r.get("channel=a", good)
	if over.refused(503, "service_unavailable"); over.resp.Header.Get("Retry-After") == "" || over.resp.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("over the limit: %v", over.resp.Header)
	}
	for reason, status := range map[string]string{"quota": "503", "auth": "401", "request": "400", "origin": "403"} {
		if got := r.number("sockudo_connections_refused_total", "reason", reason, "code", status); got == 0 {
			t.Errorf("no refusal by %s was counted", reason)
		}
	}
}

// TestTime04SlowReader: a stream whose client does not read ends with the overflow error, and no other reader
// is affected.
func TestTime04SlowReader(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) {
		o.QueueFrames, o.QueueBytes, o.SendBuffer, o.SlowAge = 16, 64<<10, 4096, patience
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprint(conn, "GET /app/key/events?channel=a&channel=b HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "it is subscribed", func() bool { return r.readers("b") == 1 })
	bystander := r.get("channel=a")
	bystander.want("subscribed")
	data := strings.Repeat("x", 8000)
	n := 0
	for ; r.number("sockudo_slow_sockets_closed_total") == 0; n++ {
		r.publish("a", "e", data)
		if got, _ := bystander.takes(1); len(got) != 1 {
			t.Fatal("the bystander got nothing")
		}
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	end := string(text[strings.LastIndex(string(text), "event: "):])
	if !strings.HasPrefix(end, "event: error\ndata: {\"code\":4100,") || !strings.HasSuffix(end, "}\n\n") {
		t.Errorf("it ends with %q", end)
	}
}

// TestTime04Drain: a gateway that stops asks readers to reconnect, and they resume on another gateway.
func TestTime04Drain(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	other := r.another()
	rd := r.get("channel=a&channel=b")
	rd.want("subscribed")
	rd.want("subscribed")
	r.publish("a", "e", "1")
	_, last := rd.takes(1)
	r.hub.Drain(t.Context(), time.Millisecond)
	e := rd.want("reconnect")
	if !strings.Contains(e.data, "4200") || e.retry != "100" || e.last != last {
		t.Errorf("asked with %+v after %q", e, last)
	}
	<-rd.ended
	r.get("channel=a").refused(503, "service_unavailable")
	r.publish("b", "e", "2")
	back := other.get("channel=a&channel=b", "Last-Event-ID: "+last)
	var got []string
	for len(got) == 0 {
		if e := back.next(); e.kind == "e" {
			got = append(got, e.data)
		} else if e.kind == "gap" {
			t.Fatalf("got %+v", e)
		}
	}
}

// TestTime04Heartbeats: heartbeats are comments, whether or not anything is published.
func TestTime04Heartbeats(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.ActivityTimeout = 10 * time.Second })
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /app/key/events?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "it is subscribed", func() bool { return r.readers("a") == 1 })
	br := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "data: "); {
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = br.ReadString('\n')
	for range 3 {
		r.clock.Add(int64(5 * time.Second))
		r.hub.sweep(r.hub.opt.Now())
		if line, err := br.ReadString('\n'); line != ":\n" {
			t.Fatalf("got %q, %v, want a comment", line, err)
		}
		_, _ = br.ReadString('\n')
	}
	r.hub.sweep(r.hub.opt.Now())
	// A client that keeps sending is not read for long.
	_, _ = conn.Write(make([]byte, 2*maxIdleTalk))
	if rest, _ := io.ReadAll(br); len(rest) != 0 {
		t.Errorf("got %q", rest)
	}
}

// TestTime04AuthorizedStreamsOnly: an app that closes unauthorized connections refuses unauthorized streams.
func TestTime04AuthorizedStreamsOnly(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.AuthTimeout = time.Minute })
	r.get("channel=a").refused(401, "auth_failed")
	soon := time.Now().Add(time.Minute).Unix()
	r.get(fmt.Sprintf("channel=a&expires=%d&token=%s", soon, pusher.SignEvents("key", "secret", []string{"a"}, soon))).want("subscribed")
}

// TestTime04CacheChannel: a cache channel sends its last event to a new reader, and not to one that resumes
// after it.
func TestTime04CacheChannel(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	rd := r.get("channel=cache-a")
	rd.want("subscribed")
	if e := rd.want("cache_miss"); e.data != `{"channel":"cache-a"}` {
		t.Errorf("missed with %s", e.data)
	}
	r.publish("cache-a", "e", "1")
	_, last := rd.takes(1)
	rd = r.get("channel=cache-a")
	// An id before the event would claim that the reader has it.
	begin := rd.want("subscribed").last
	if _, at := rd.takes(1); begin != "" || at != last {
		t.Errorf("the id is %q, then %q, want none and %q", begin, at, last)
	}
	rd = r.get("channel=cache-a", "Last-Event-ID: "+last)
	rd.want("subscribed")
	rd.want("resumed")
}

// TestTime04TheEventOfACacheBringsItsId: a reader that is cut off before the cached event gets it when it
// reconnects, and a reader that had it does not get it twice. If the filter drops the event, the reader gets
// the id without it.
func TestTime04TheEventOfACacheBringsItsId(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
	at := r.publish("cache-a", "e", "1", func(e *broker.Event) { e.Tags = map[string]string{"k": "a"} })
	filter := func(kind string) string {
		return "&filter=" + url.QueryEscape(fmt.Sprintf(`{"key":"k","cmp":"eq","val":%q}`, kind))
	}
	place := fmt.Sprintf("%s:%d", at.Epoch, at.Offset)
	for _, query := range []string{"channel=cache-a", "channel=cache-a" + filter("a"), "channel=b&channel=cache-a", "channel=b&channel=cache-a" + filter("a")} {
		begin := func(lines ...string) (before, after string) {
			rd := r.get(query, lines...)
			for range strings.Count(query, "channel=") {
				before = rd.want("subscribed").last
			}
			_, after = rd.takes(1)
			return before, after
		}
		before, after := begin()
		if before == after || after == "" {
			t.Fatalf("%s: the id is %q before the event of the cache and %q with it", query, before, after)
		}
		if _, again := begin("Last-Event-ID: " + before); again != after {
			t.Errorf("%s: cut off before the event of the cache he gets it with the id %q, want %q", query, again, after)
		}
		rd := r.get(query, "Last-Event-ID: "+after)
		for range strings.Count(query, "channel=") {
			rd.want("subscribed")
		}
		rd.want("resumed")
	}
	rd := r.get("channel=cache-a&channel=b" + filter("b"))
	if begin := rd.want("subscribed").last; strings.Contains(begin, place) {
		t.Errorf("before the filter hid the event of the cache the id is %q", begin)
	}
	if next := rd.want("subscribed").last; !strings.HasPrefix(next, place+",") {
		t.Errorf("after the filter hid the event of the cache the id is %q, want one from %s on", next, place)
	}
}

// another returns a second gateway on the same log.
func (r *rig) another() *rig {
	r.t.Helper()
	other := newRig(r.t, func(o *Options, a *appT) {
		o.Feed, o.History, o.Publisher = r.log, r.log, r.log
		*a = *r.app
	})
	_ = other.log.Close()
	other.log = r.log
	return other
}

// number returns the sum of a metric; labels are names and values in turn.
func (r *rig) number(name string, labels ...string) float64 {
	r.t.Helper()
	want := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		want[labels[i]] = labels[i+1]
	}
	return metricValue(r.t, r.registry, name, want)
}

// readers returns the number of subscriptions of a channel on this gateway.
func (r *rig) readers(channel string) (n int) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if c := r.hub.channels[channelKey{r.app.ID, channel}]; c != nil {
		n = c.refs
	}
	return n
}

// TestRun08SubscriptionsOfStreamsCount: the gauge of subscriptions counts the channels of event streams, and
// drops when they end.
func TestRun08SubscriptionsOfStreamsCount(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	counts := func(n float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v subscriptions are counted", n), func() bool { return r.number("sockudo_subscriptions") == n })
	}
	one := r.get("channel=a&channel=b")
	counts(2)
	r.publish("a", "tick", "1")
	two := r.get("channel=a&since=5")
	counts(3)
	two.hangUp()
	counts(2)
	one.hangUp()
	counts(0)
}

// TestTime04EachOnceAcrossReconnects: readers lose their connections at random, and reconnect to either of
// two gateways with their last id. They get every event once and in order.
func TestTime04EachOnceAcrossReconnects(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 4))
	one := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Recovery.MaxEvents = 1000 })
	gateways := []*rig{one, one.another()}
	for _, channels := range [][]string{{"a"}, {"a", "b", "c"}} {
		query := "channel=" + strings.Join(channels, "&channel=")
		want, got, last := map[string][]string{}, map[string][]string{}, ""
		count := 0
		rd := one.get(query)
		for range channels {
			last = rd.want("subscribed").last
		}
		for round := range 40 {
			for range random.IntN(20) {
				ch := channels[random.IntN(len(channels))]
				count++
				one.publish(ch, "e", fmt.Sprint(count))
				want[ch] = append(want[ch], fmt.Sprint(count))
			}
			for read, most := 0, random.IntN(25); read < most || round == 39; read++ {
				if size(got) == count {
					break
				}
				e := rd.next()
				if e.last != "" {
					last = e.last
				}
				switch e.kind {
				case "e":
					var m message
					_ = json.Unmarshal([]byte(e.data), &m)
					got[m.Channel] = append(got[m.Channel], m.str())
				case "subscribed", "resumed":
				default:
					t.Fatalf("got %+v", e)
				}
			}
			if round < 39 {
				_ = rd.conn.Close()
				rd = gateways[random.IntN(2)].get(query, "Last-Event-ID: "+last)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-published +read):\n%s", channels, diff)
		}
		_ = rd.conn.Close()
	}
}

func size(of map[string][]string) (n int) {
	for _, all := range of {
		n += len(all)
	}
	return n
}

// plainWriter is a response writer that can be neither hijacked nor flushed.
type plainWriter struct{ http.ResponseWriter }

// TestTime08NoStreamWithoutAConnection: if a stream cannot be sent as it comes, the response is a 505 and
// nothing else, and the reader is forgotten. HTTP/1.0 is enough for a stream.
func TestTime08NoStreamWithoutAConnection(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	for _, version := range []int{1, 2} {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/app/key/events?channel=a&channel=b", nil)
		req.Proto, req.ProtoMajor, req.ProtoMinor = fmt.Sprintf("HTTP/%d.1", version), version, 2-version
		req.Header.Set("Last-Event-ID", "s:1,2;"+fmt.Sprintf("%08x", pusher.ChannelsSum([]string{"a", "b"})))
		r.hub.ServeHTTP(plainWriter{rec}, req)
		var said struct {
			Error, Code string
			Status      int
		}
		err := json.Unmarshal(rec.Body.Bytes(), &said)
		if err != nil || rec.Code != 505 || said.Status != 505 || said.Code != "unsupported_encoding" || said.Error == "" {
			t.Errorf("HTTP/%d: answered %d %s %v", version, rec.Code, rec.Body, err)
		}
		if got := rec.Header().Get("Content-Type"); got != "application/json" || rec.Header().Get("X-Accel-Buffering") != "" {
			t.Errorf("HTTP/%d: %v", version, rec.Header())
		}
	}
	if got := r.number("sockudo_connections_refused_total", "reason", "takeover", "code", "505"); got != 2 {
		t.Errorf("%v refusals were counted", got)
	}
	if got := r.number("sockudo_connected"); got != 0 {
		t.Errorf("%v connections are left", got)
	}
	for _, channel := range []string{"a", "b"} {
		if n := r.readers(channel); n != 0 {
			t.Errorf("%d readers of %s are left", n, channel)
		}
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /app/key/events?channel=a HTTP/1.0\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	var head []string
	for line := "x"; line != ""; {
		text, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", head, err)
		}
		line = strings.TrimRight(text, "\r\n")
		head = append(head, line)
	}
	if !strings.HasPrefix(head[0], "HTTP/1.") || !strings.HasSuffix(head[0], " 200 OK") || strings.Contains(strings.Join(head, "\n"), "chunked") {
		t.Errorf("HTTP/1.0 is answered %q", head)
	}
	for _, event := range []string{"subscribed", "e"} {
		for line := ""; line != "event: "+event+"\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if event == "subscribed" {
			r.publish("a", "e", "1")
		}
	}
}
