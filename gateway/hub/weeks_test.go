package hub

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// The tests of this file cover what people run into in their first weeks with WebSocket clients.

// ask subscribes with a signature over any text and returns the event of the answer.
func (p *peer) ask(channel, signed, members string) message {
	p.t.Helper()
	p.say(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":"key:%s"%s}}`, channel, signed, members)
	if m := p.next(); m.Event != "pusher:error" {
		return m
	}
	return p.want("pusher:subscription_error")
}

func TestWeeks05DataMayBeSignedForAnyChannel(t *testing.T) {
	const data = `{"user_id":"7","user_info":{"a":"b"}}`
	member := func(s string) string { b, _ := json.Marshal(s); return `,"channel_data":` + string(b) }
	for _, c := range []struct {
		about, channel, signed, members string
		ok                              bool
	}{
		{"data that is covered", "private-x", "private-x:" + data, member(data), true},
		{"data that is not covered", "private-x", "private-x", member(data), true},
		{"no data", "private-x", "private-x", "", true},
		{"empty data", "private-x", "private-x", `,"channel_data":""`, true},
		{"null data", "private-x", "private-x", `,"channel_data":null`, true},
		{"encrypted", "private-encrypted-x", "private-encrypted-x:" + data, member(data), true},
		{"cached", "private-cache-x", "private-cache-x:" + data, member(data), true},
		{"encrypted and cached", "private-encrypted-cache-x", "private-encrypted-cache-x:" + data, member(data), true},
		{"a name with a colon", "private-a:b", "private-a:b:" + data, member(data), true},
		{"odd white space", "private-x", `private-x: {"user_id" : 7} `, member(` {"user_id" : 7} `), true},
		{"data that is missing", "private-x", "private-x:" + data, "", false},
		{"other data", "private-x", "private-x:" + data, member(`{"user_id":"8"}`), false},
		{"the rest of another name", "private-a", "private-a:b", member("b"), false},
		{"the rest of another name and its data", "private-a", "private-a:b:" + data, member("b:" + data), false},
		{"a text", "private-x", `private-x:"b"`, member(`"b"`), false},
		{"a list", "private-x", `private-x:[1]`, member(`[1]`), false},
		{"a number", "private-a", `private-a:1`, member(`1`), false},
		{"another channel", "private-y", "private-x:" + data, member(data), false},
		{"a sign-in", "private-x", ":user::" + data, member(data), false},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := newRig(t, nil)
			p, id := r.connect()
			signature := pusher.SignChannel("secret", id, c.signed, "", false)
			m := p.ask(c.channel, signature, c.members)
			if ok := m.Event == "pusher_internal:subscription_succeeded"; ok != c.ok {
				t.Errorf("got %s", m.text)
			}
		})
	}
}

func TestWeeks08EveryFrameOfAChannelHasData(t *testing.T) {
	for _, d := range []pusher.Dialect{pusher.V1, pusher.V2} {
		for _, c := range []pusher.Control{
			{Event: "cache_miss", Channel: "c"}, {Event: "x"}, {Event: "x", Internal: true, Channel: "c", Text: "{}"}, {Event: "ping", Object: []byte("{}")},
		} {
			var m message
			if err := json.Unmarshal(pusher.AppendControl(nil, d, &c), &m); err != nil || len(m.Data) == 0 || m.Channel != c.Channel {
				t.Errorf("%+v: %s, %v", c, m.Data, err)
			}
		}
	}
}

func TestWeeks12WhoWaitsIsAnswered(t *testing.T) {
	r := newRig(t, func(o *Options, a *appT) { a.UserAuth, a.ClientEvents, o.Filters = true, true, true })
	deep := strings.Repeat("[", pusher.MaxDepth+1) + strings.Repeat("]", pusher.MaxDepth+1)
	for _, c := range []struct{ about, frame, channel, field string }{
		{"auth is an object", `{"event":"pusher:subscribe","data":{"channel":"private-x","auth":{}}}`, "private-x", "auth"},
		{"auth is a number", `{"event":"pusher:subscribe","data":{"channel":"private-x","auth":1}}`, "private-x", "auth"},
		{"auth is a list, of a public channel", `{"event":"pusher:subscribe","data":{"channel":"x","auth":[]}}`, "x", "auth"},
		{"auth is missing", `{"event":"pusher:subscribe","data":{"channel":"private-x"}}`, "private-x", "auth"},
		{"channel_data is an object", `{"event":"pusher:subscribe","data":{"channel":"presence-x","auth":"k:s","channel_data":{"user_id":"1"}}}`, "presence-x", "channel_data"},
		{"channel_data is true", `{"event":"pusher:subscribe","data":{"channel":"presence-x","auth":"k:s","channel_data":true}}`, "presence-x", "channel_data"},
		{"in a string", `{"event":"pusher:subscribe","data":"{\"channel\":\"private-x\",\"auth\":{}}"}`, "private-x", "auth"},
		{"channel is outside", `{"event":"pusher:subscribe","channel":"x","data":{}}`, "x", "channel"},
		{"channel is outside and data a list", `{"event":"pusher:subscribe","channel":"x","data":[]}`, "x", "data"},
		{"channel is outside and data a text", `{"event":"pusher:subscribe","channel":"x","data":"x"}`, "x", "data"},
		{"channel is a number outside", `{"event":"pusher:subscribe","channel":1,"data":{"channel":"x"}}`, "x", "channel"},
		{"a filter that is too deep", `{"event":"pusher:subscribe","data":{"channel":"x","filter":` + deep + `}}`, "x", "nested"},
		{"a filter that is a number", `{"event":"pusher:subscribe","data":{"channel":"x","filter":5}}`, "x", "filter"},
		{"channel is a number", `{"event":"pusher:subscribe","data":{"channel":1}}`, "", "channel"},
		{"channel is null", `{"event":"pusher:subscribe","data":{"channel":null}}`, "", "channel"},
		{"no data", `{"event":"pusher:subscribe"}`, "", "channel"},
		{"unsubscribe without a channel", `{"event":"pusher:unsubscribe","data":{}}`, "", "channel"},
		{"unsubscribe of a list", `{"event":"pusher:unsubscribe","data":{"channel":["x"]}}`, "", "channel"},
		{"signin without user_data", `{"event":"pusher:signin","data":{"auth":"k:s"}}`, "", "user_data"},
		{"signin with user_data as an object", `{"event":"pusher:signin","data":{"auth":"k:s","user_data":{"id":"1"}}}`, "", "user_data"},
		{"signin with auth as an object", `{"event":"pusher:signin","data":{"auth":{},"user_data":"{}"}}`, "", "auth"},
		{"signin with a number for an id", `{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":1}"}}`, "", "id"},
		{"a client event without a channel", `{"event":"client-x","data":{}}`, "", "channel"},
		{"a client event of a list", `{"event":"client-x","channel":["private-x"],"data":{}}`, "", "channel"},
		{"resync without a channel", `{"event":"pusher:delta_sync_error","data":{}}`, "", "channel"},
		{"deltas with a text for a list", `{"event":"pusher:enable_delta_compression","data":{"algorithms":"fossil"}}`, "", "algorithms"},
	} {
		t.Run(c.about, func(t *testing.T) {
			p, _ := r.connect()
			p.say("%s", c.frame)
			if m := p.want("pusher:error"); !strings.Contains(m.text, c.field) {
				t.Errorf("got %s, want that it names %s", m.text, c.field)
			}
			if c.channel != "" {
				m := p.want("pusher:subscription_error")
				var data struct {
					Type, Error string
					Status      int
				}
				if err := json.Unmarshal([]byte(m.str()), &data); err != nil || m.Channel != c.channel || data.Status < 400 || data.Type == "" || !strings.Contains(data.Error, c.field) {
					t.Errorf("got %s, want that it names %s", m.text, c.field)
				}
			}
			p.usable()
		})
	}
}

func TestWeeks13UnknownEventsAreTold(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct{ event, hint string }{
		{"typing", "client-"}, {"message", "client-"}, {"", "event is missing"},
		{"pusher:subscirbe", "pusher:subscribe"}, {"pusher:Subscribe", "pusher:subscribe"}, {"pusher:sign_in", "pusher:signin"},
		{"subscribe", "pusher:subscribe"}, {"ping", "pusher:ping"}, {"pusher:unsubscibe", "pusher:unsubscribe"}, {"puhser:subscribe", "pusher:subscribe"},
		{"pusher:channel_history", "HTTP"}, {"channel_history", "client-"}, {"pusher_internal:member_added", "client-"}, {"pusher:juggle", "juggle"},
		{strings.Repeat("x", 5000), "client-"},
	} {
		p, _ := r.connect()
		p.say(`{"event":%q,"data":{}}`, c.event)
		if m := p.want("pusher:error"); !strings.Contains(m.text, c.hint) || len(m.text) > 400 {
			t.Errorf("%.40q: got %s, want a hint at %s", c.event, m.text, c.hint)
		}
		p.usable()
	}
	t.Run("now and then, if there is no end of them", func(t *testing.T) {
		p, _ := r.connect()
		for range 1000 {
			p.say(`{"event":"typing","data":{}}`)
		}
		p.say(`{"event":"pusher:ping","data":{}}`)
		told := 0
		for m := p.next(); m.Event != "pusher:pong"; m = p.next() {
			told++
		}
		if told < 1 || told > 2*unknownPerSecond {
			t.Errorf("%d of 1000 were answered", told)
		}
	})
	t.Run("a pong is no mistake", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:pong","data":{}}`)
		p.usable()
	})
	t.Run("the other dialect has its own names", func(t *testing.T) {
		p := r.dial("/app/key?protocol=2")
		p.want("sockudo:connection_established")
		p.say(`{"event":"sockudo:subscirbe","data":{}}`)
		if m := p.want("sockudo:error"); !strings.Contains(m.text, "sockudo:subscribe") {
			t.Errorf("got %s", m.text)
		}
	})
}

// handshake sends the lines of a handshake and returns the response.
func (r *rig) handshake(first string, lines ...string) (int, http.Header, string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.server.URL, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "%s\r\nHost: localhost\r\n%s\r\n\r\n", first, strings.Join(lines, "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, resp.Header, ""
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header, string(text)
}

func TestWeeks14HandshakesAreRefusedInOurWords(t *testing.T) {
	const get, key, version = "GET /app/key HTTP/1.1", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"
	const upgrade, connection = "Upgrade: websocket", "Connection: Upgrade"
	for _, c := range []struct {
		about  string
		status int
		names  string
		first  string
		lines  []string
	}{
		{"no Connection", 400, "Connection: Upgrade", get, []string{upgrade, key, version}},
		{"Connection: close", 400, "Connection: Upgrade", get, []string{upgrade, "Connection: close", key, version}},
		{"no Upgrade", 426, "Upgrade: websocket", get, []string{connection, key, version}},
		{"neither", 426, "proxy", get, []string{key, version}},
		{"another upgrade", 426, "Upgrade: websocket", get, []string{"Upgrade: h2c", connection, key, version}},
		{"no version", 426, "Sec-WebSocket-Version", get, []string{upgrade, connection, key}},
		{"an old version", 426, "13", get, []string{upgrade, connection, key, "Sec-WebSocket-Version: 8"}},
		{"no key", 400, "Sec-WebSocket-Key", get, []string{upgrade, connection, version}},
		{"a POST", 426, "GET", "POST /app/key HTTP/1.1", []string{upgrade, connection, key, version, "Content-Length: 0"}},
		{"several values", 101, "", get, []string{"Upgrade: h2c, WebSocket", "Connection: keep-alive, upgrade", key, version}},
		{"several lines", 101, "", get, []string{upgrade, "Connection: keep-alive", connection, key, version}},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := newRig(t, nil)
			status, header, text := r.handshake(c.first, c.lines...)
			if status != c.status || !strings.Contains(text, c.names) || strings.Contains(text, "gws") {
				t.Errorf("got %d %q", status, text)
			}
			if status == http.StatusUpgradeRequired && (header.Get("Sec-WebSocket-Version") != "13" || header.Get("Upgrade") != "websocket") {
				t.Errorf("got %v", header)
			}
			want := 1.0
			if status == 101 {
				want = 0
			}
			if got := r.sum("sockudo_handshakes_refused_total"); got != want {
				t.Errorf("%v were counted", got)
			}
		})
	}
}

// sum returns the sum of a metric over all labels; a histogram counts its samples.
func (r *rig) sum(name string) (sum float64) {
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func TestWeeks14FramesAreRefusedInOurWords(t *testing.T) {
	unmasked := []byte{websocket.Fin | websocket.Text, 2, '{', '}'}
	for _, c := range []struct {
		about string
		frame []byte
		code  int
		names string
	}{
		{"too large", masked(websocket.Text, make([]byte, 64<<10+1)), 1009, "65536 bytes"},
		{"too large in parts", append(append([]byte{websocket.Text}, masked(websocket.Text, make([]byte, 40<<10))[1:]...), append([]byte{websocket.Fin}, masked(websocket.Text, make([]byte, 40<<10))[1:]...)...), 1009, "65536 bytes"},
		{"not masked", unmasked, 1002, "masked"},
		{"reserved bits", append([]byte{websocket.Fin | 0x40 | websocket.Text}, masked(websocket.Text, []byte("{}"))[1:]...), 1002, "RFC 6455"},
		{"not UTF-8", masked(websocket.Text, []byte{0xff, 0xfe}), 1007, "UTF-8"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := newRig(t, nil)
			p, _ := r.connect()
			p.raw(c.frame)
			if code := p.closed(); code != c.code || !strings.Contains(p.reason, c.names) || strings.Contains(p.reason, "gws") {
				t.Errorf("closed with %d %q", code, p.reason)
			}
			eventually(t, "it is counted", func() bool { return r.sum("sockudo_frames_refused_total") == 1 })
		})
	}
	t.Run("inflated too large", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Compression = true })
		p := dialHeader(t, strings.TrimPrefix(r.server.URL, "http://"), "/app/key", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
		f := p.frame()
		if f.op != websocket.Text {
			t.Fatalf("got %v", f)
		}
		packed := packedText(t, make([]byte, 1<<20))
		p.raw(append([]byte{websocket.Fin | 0x40 | websocket.Text}, masked(websocket.Text, packed)[1:]...))
		if code := p.closed(); code != 1009 || !strings.Contains(p.reason, "65536 bytes") {
			t.Errorf("closed with %d %q", code, p.reason)
		}
	})
}

// TestWeeks15ReasonsAreTold: causes that share a close code have different reasons.
func TestWeeks15ReasonsAreTold(t *testing.T) {
	ends := map[string]func(t *testing.T) *peer{
		"the origin": func(t *testing.T) *peer {
			r := newRig(t, func(_ *Options, a *appT) { a.Origins = []string{"good.example"} })
			return dialHeader(t, strings.TrimPrefix(r.server.URL, "http://"), "/app/key", "Origin: https://evil.example\r\n")
		},
		"terminated": func(t *testing.T) *peer {
			r := newRig(t, func(_ *Options, a *appT) { a.UserAuth = true })
			p, id := r.connect()
			p.signIn(id, `{"id":"u"}`)
			if err := r.hub.Terminate(t.Context(), r.app, "u"); err != nil {
				t.Fatal(err)
			}
			return p
		},
		"neither signed in nor joined": func(t *testing.T) *peer {
			r := newRig(t, func(_ *Options, a *appT) { a.AuthTimeout = time.Second })
			p, _ := r.connect()
			r.clock.Add(int64(2 * time.Second))
			r.hub.sweep(r.hub.opt.Now())
			return p
		},
	}
	var reasons []string
	for text, end := range ends {
		t.Run(text, func(t *testing.T) {
			p := end(t)
			m := p.want("pusher:error")
			if code := p.closed(); code != 4009 || !strings.Contains(p.reason, text) || !strings.Contains(m.text, text) {
				t.Errorf("%s, closed with %d %q", m.text, code, p.reason)
			}
			if slices.Contains(reasons, p.reason) {
				t.Errorf("%q is the reason for two things", p.reason)
			}
			reasons = append(reasons, p.reason)
		})
	}
}

// packedText compresses a message as per-message compression does.
func packedText(t *testing.T, message []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err == nil {
		_, err = w.Write(message)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func (p *peer) signIn(id, userData string) {
	p.t.Helper()
	quoted, _ := json.Marshal(userData)
	p.say(`{"event":"pusher:signin","data":{"auth":"key:%s","user_data":%s}}`, pusher.SignUser("secret", id, userData), quoted)
	p.want("pusher:signin_success")
}

func TestWeeks17ClientEventsAreNotForEncryptedChannels(t *testing.T) {
	r := newRig(t, clientEvents)
	for _, channel := range []string{"private-encrypted-a", "private-encrypted-cache-a"} {
		a, b := r.member(channel), r.member(channel)
		a.say(`{"event":"client-x","channel":%q,"data":{"secret":1}}`, channel)
		if m := a.want("pusher:error"); !strings.Contains(m.text, `"code":4301`) || !strings.Contains(m.text, "encrypt") {
			t.Errorf("got %s", m.text)
		}
		b.usable()
	}
}

func TestWeeks18RewindIsAnswered(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/app/key?protocol=7", "/app/key?protocol=2"} {
		for _, rewind := range []string{`20`, `"20"`, `{"count":20}`, `{"seconds":30}`, `0`, `[]`} {
			p := r.dial(path)
			prefix, _, _ := strings.Cut(p.next().Event, ":")
			p.say(`{"event":"pusher:subscribe","data":{"channel":"c","rewind":%s}}`, rewind)
			p.want(prefix + ":error")
			if m := p.want(prefix + ":subscription_error"); m.Channel != "c" || !strings.Contains(m.text, "rewind") {
				t.Errorf("got %s", m.text)
			}
		}
	}
}

func TestWeeks18FormatsAreRefusedLikeAnything(t *testing.T) {
	r := newRig(t, nil)
	for _, format := range []string{"msgpack", "messagepack", "protobuf", "JSON5", "%22"} {
		p := r.dial("/app/key?protocol=2&format=" + format)
		p.want("sockudo:error")
		if code := p.closed(); code != 4007 || !strings.Contains(p.reason, "json") {
			t.Errorf("%s: closed with %d %q", format, code, p.reason)
		}
	}
	for _, path := range []string{"/app/key?protocol=2&format=json", "/app/key?protocol=2&format="} {
		r.dial(path).want("sockudo:connection_established")
	}
	r.dial("/app/key?protocol=7&format=msgpack").want("pusher:connection_established")
}
