package hub

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

func TestConnecting(t *testing.T) {
	r := newRig(t, nil)
	t.Run("WS-01 WS-02 the first frame is connection_established with string data", func(t *testing.T) {
		p := r.dial("/app/key")
		m := p.want("pusher:connection_established")
		if !strings.HasPrefix(string(m.Data), `"`) {
			t.Errorf("got data %s, want a string", m.Data)
		}
		established(t, m)
	})
	t.Run("WS-03 socket ids are numbers and differ", func(t *testing.T) {
		seen := map[string]bool{}
		valid := regexp.MustCompile(`^\d+\.\d+$`)
		for range 10000 {
			id := newSocketID()
			if !valid.MatchString(id) || seen[id] {
				t.Fatalf("bad or repeated socket id %q", id)
			}
			seen[id] = true
		}
	})
	for name, c := range map[string]struct {
		path string
		code int
	}{
		"WS-04 unknown key":            {"/app/nobody?protocol=7", 4001},
		"WS-05 disabled app":           {"/app/off-key?protocol=7", 4003},
		"WS-07 protocol not a number":  {"/app/key?protocol=abc", 4006},
		"WS-07 protocol not supported": {"/app/key?protocol=99", 4007},
		"path without a key":           {"/app/", 4005},
		"path with more than a key":    {"/app/key/more", 4005},
	} {
		t.Run(name+fmt.Sprintf(" is told %d", c.code), func(t *testing.T) {
			p := r.dial(c.path)
			m := p.want("pusher:error")
			if !strings.Contains(string(m.Data), fmt.Sprintf(`{"code":%d,"message":"`, c.code)) {
				t.Errorf("got %s", m.text)
			}
			if got := p.closed(); got != c.code {
				t.Errorf("closed with %d, want %d", got, c.code)
			}
		})
	}
	for _, protocol := range []string{"", "?protocol=4", "?protocol=5", "?protocol=6", "?protocol=7", "?colour=green&protocol=7"} {
		t.Run("WS-08 WS-09 WS-11 is V1 with "+protocol, func(t *testing.T) {
			r.dial("/app/key" + protocol).want("pusher:connection_established")
		})
	}
	t.Run("WS-10 protocol 2 is V2", func(t *testing.T) {
		p := r.dial("/app/key?protocol=2")
		if m := p.want("sockudo:connection_established"); m.MessageID == "" {
			t.Errorf("got %s, want a message_id", m.text)
		}
	})
	t.Run("V2-06 an unknown format is refused", func(t *testing.T) {
		req, err := http.NewRequest(http.MethodGet, r.server.URL+"/app/key?protocol=2&format=protobuf", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Upgrade", "websocket")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("got %s, want 400", resp.Status)
		}
	})
	t.Run("a plain request is told to upgrade", func(t *testing.T) {
		resp, err := http.Get(r.server.URL + "/app/key")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("got %s, want 426", resp.Status)
		}
	})
	http.DefaultClient.CloseIdleConnections()
}

func TestQuotaOfConnections(t *testing.T) {
	r := newRig(t, func(_ *Options, a *app.App) { a.Limits.MaxConnections = 2 })
	first, _ := r.connect()
	r.connect()
	p := r.dial("/app/key")
	p.want("pusher:error")
	if got := p.closed(); got != 4004 {
		t.Errorf("closed with %d, want 4004", got)
	}
	first.hangUp()
	eventually(t, "the quota has room again", func() bool {
		return r.hub.quota.Here(r.app.ID) == 1
	})
	r.connect()
}

func TestFrames(t *testing.T) {
	r := newRig(t, nil)
	for name, c := range map[string]struct{ frame, answer string }{
		"WS-12 not JSON":                     {`hello`, `{"event":"pusher:error","data":{"code":null,"message":`},
		"WS-13 no event":                     {`{"data":{}}`, `{"event":"pusher:error","data":{"code":null,"message":`},
		"WS-13 event is a number":            {`{"event":7}`, `{"event":"pusher:error","data":{"code":null,"message":`},
		"WS-17 ping":                         {`{"event":"pusher:ping","data":{}}`, `{"event":"pusher:pong","data":{}}`},
		"CE-02 client event":                 {`{"event":"client-x","channel":"private-a","data":{}}`, `{"event":"pusher:error","data":{"code":4301,"message":`},
		"subscribe without a channel":        {`{"event":"pusher:subscribe","data":{}}`, `{"event":"pusher:error","data":{"code":null,"message":`},
		"subscribe with data that is a list": {`{"event":"pusher:subscribe","data":[1]}`, `{"event":"pusher:error","data":{"code":null,"message":`},
		"RE-09 resume":                       {`{"event":"pusher:resume","data":"{}"}`, `{"event":"pusher:error","data":{"code":4303,"message":`},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := r.connect()
			p.say("%s", c.frame)
			if got := p.next().text; !strings.HasPrefix(got, c.answer) {
				t.Errorf("got %s, want %s...", got, c.answer)
			}
			p.usable()
		})
	}
	t.Run("WS-14 unknown events change nothing", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:juggle","data":{}}`)
		p.want("pusher:error")
		p.say(`{"event":"something","data":{}}`)
		p.want("pusher:error")
		p.usable()
	})
	t.Run("WS-15 subscribe with data as a string", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":"{\"channel\":\"orders\"}"}`)
		p.want("pusher_internal:subscription_succeeded")
	})
	t.Run("WS-16 binary frames", func(t *testing.T) {
		p, _ := r.connect()
		p.raw(masked(2, []byte(`{"event":"pusher:ping"}`)))
		p.want("pusher:pong")
		p.raw(masked(2, []byte{0xff, 0xfe, 0}))
		p.want("pusher:error")
		p.usable()
	})
	t.Run("WS-18 a ping frame is answered with its payload", func(t *testing.T) {
		p, _ := r.connect()
		p.raw(masked(websocket.Ping, []byte("are you there")))
		if f := p.frame(); f.op != 0xA || f.payload != "are you there" {
			t.Errorf("got opcode %d with %q", f.op, f.payload)
		}
	})
	// Closing the connection while part of the frame is unread would send a reset, which discards the close
	// frame.
	for _, size := range []int{64<<10 + 1, 4 << 20} {
		t.Run(fmt.Sprintf("WS-23 an oversized frame of %d bytes closes with 1009", size), func(t *testing.T) {
			p, _ := r.connect()
			p.raw(masked(websocket.Text, make([]byte, size)))
			if got := p.closed(); got != 1009 {
				t.Errorf("closed with %d, want 1009", got)
			}
		})
	}
	t.Run("an announced size is refused before it is sent", func(t *testing.T) {
		p, _ := r.connect()
		p.raw([]byte{websocket.Fin | websocket.Text, 0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0})
		if got := p.closed(); got != 1009 {
			t.Errorf("closed with %d, want 1009", got)
		}
	})
	t.Run("an unmasked frame is a protocol error", func(t *testing.T) {
		p, _ := r.connect()
		p.raw([]byte{websocket.Fin | websocket.Text, 2, '{', '}'})
		if got := p.closed(); got != 1002 {
			t.Errorf("closed with %d, want 1002", got)
		}
	})
	t.Run("a frame in the same packet as the handshake is read", func(t *testing.T) {
		p := r.dial("/app/key", masked(websocket.Text, []byte(`{"event":"pusher:ping"}`))...)
		p.want("pusher:connection_established")
		p.want("pusher:pong")
	})
}

// TestHostileLengthEndsOnlyItsConnection: a 64-bit length with its top bit set makes the WebSocket library
// slice with a negative length. Unrecovered, that panic would end the process.
func TestHostileLengthEndsOnlyItsConnection(t *testing.T) {
	r := newRig(t, nil)
	other := r.subscribed("orders", false)
	bad, _ := r.connect()
	bad.raw([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	bad.closed()
	eventually(t, "the connection is forgotten", func() bool {
		return r.hub.quota.Here(r.app.ID) == 1
	})
	r.publish("orders", "created", `{"n":1}`)
	other.want("created")
}

// askedForLife reads the frames by which a V1 connection is asked for a sign of life.
func (p *peer) askedForLife() {
	p.t.Helper()
	p.want("pusher:ping")
	if f := p.frame(); f.op != websocket.Ping {
		p.t.Fatalf("got opcode %d behind pusher:ping, want a ping", f.op)
	}
}

func TestSilence(t *testing.T) {
	r := newRig(t, nil)
	pass := func(d time.Duration) {
		r.clock.Add(int64(d))
		r.hub.sweep(r.hub.opt.Now())
	}
	t.Run("WS-19 a silent V1 socket is pinged and then closed with 4201", func(t *testing.T) {
		p := r.subscribed("silent", false)
		pass(119 * time.Second)
		p.usable()
		pass(121 * time.Second)
		p.askedForLife()
		pass(29 * time.Second)
		r.publish("silent", "still-there", `{}`) // what the peer is sent is no sign of its life
		p.want("still-there")
		pass(2 * time.Second)
		p.want("pusher:error")
		if got := p.closed(); got != 4201 {
			t.Errorf("closed with %d, want 4201", got)
		}
	})
	t.Run("WS-20 a pong frame restarts the timer", func(t *testing.T) {
		p, _ := r.connect()
		pass(121 * time.Second)
		p.askedForLife()
		p.raw(masked(0xA, nil))
		p.usable()
		pass(31 * time.Second)
		p.usable()
	})
	// If sweeps are as far apart as the allowed silence, none finds that the peer has just been active.
	t.Run("WeeksProxies a peer that has answered is asked again", func(t *testing.T) {
		p, _ := r.connect()
		for range 3 {
			pass(121 * time.Second)
			p.askedForLife()
			p.raw(masked(0xA, nil))
			p.usable()
		}
	})
	// A client that only listens may know no pusher:ping; its WebSocket answers a ping frame.
	t.Run("WS-20 a V1 client that leaves pusher:ping unanswered lives by its pongs", func(t *testing.T) {
		p := r.subscribed("busy", false)
		for n := range 3 {
			r.publish("busy", "tick", "{}")
			p.want("tick")
			pass(121 * time.Second)
			p.askedForLife()
			p.raw(masked(websocket.Pong, nil))
			eventually(t, "the pong is heard", func() bool {
				return slices.ContainsFunc(r.hub.everybody(), func(c *Client) bool { return c.sock.Seen() == r.clock.Load() })
			})
			pass(31 * time.Second)
			if n == 2 {
				p.usable()
			}
		}
	})
	t.Run("a V2 socket is pinged with ping frames", func(t *testing.T) {
		p := r.dial("/app/key?protocol=2")
		p.want("sockudo:connection_established")
		pass(61 * time.Second)
		if f := p.frame(); f.op != websocket.Ping {
			t.Errorf("got opcode %d, want a ping", f.op)
		}
		pass(31 * time.Second)
		p.want("sockudo:error")
		if got := p.closed(); got != 4201 {
			t.Errorf("closed with %d, want 4201", got)
		}
	})
}

func TestStopAsksEverybodyToComeBack(t *testing.T) {
	r := newRig(t, nil)
	var peers []*peer
	for range 20 {
		p, _ := r.connect()
		peers = append(peers, p)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.hub.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if got := p.closed(); got != 4200 {
			t.Errorf("WS-21: closed with %d, want 4200", got)
		}
	}
	req, err := http.NewRequest(http.MethodGet, r.server.URL+"/app/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Upgrade", "websocket")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a late connection got %s, want 503", resp.Status)
	}
}

func TestCloseCodesStayBelow4300(t *testing.T) {
	for code := pusher.CloseCode(4000); code < 5000; code++ {
		if code.Message() != pusher.CloseCode(1).Message() && code >= 4300 {
			t.Errorf("WS-22: %d closes a socket", code)
		}
	}
}

func TestOrigins(t *testing.T) {
	r := newRig(t, func(_ *Options, a *appT) { a.Origins = []string{"https://app.example", "*.dev.example"} })
	address := strings.TrimPrefix(r.server.URL, "http://")
	for origin, want := range map[string]string{
		"https://app.example": "pusher:connection_established", "http://x.dev.example:3000": "pusher:connection_established",
		"": "pusher:connection_established", "https://evil.example": "pusher:error", "null": "pusher:error",
	} {
		lines := ""
		if origin != "" {
			lines = "Origin: " + origin + "\r\n"
		}
		p := dialHeader(t, address, "/app/key?protocol=7", lines)
		if m := p.want(want); want == "pusher:error" && (!strings.Contains(m.text, "4009") || p.closed() != 4009) {
			t.Errorf("origin %q: %s", origin, m.text)
		}
	}
}

func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	var peers []*peer
	for range drainGroup + 20 {
		p, _ := r.connect()
		peers = append(peers, p)
	}
	r.hub.Drain(context.Background(), time.Hour)
	for i, p := range peers {
		if code := p.closed(); code != 4200 {
			t.Fatalf("WS-21: connection %d was closed with %d", i, code)
		}
	}
	req, err := http.NewRequest(http.MethodGet, r.server.URL+"/app/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Upgrade", "websocket")
	again, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if again.StatusCode != http.StatusServiceUnavailable || again.Header.Get("Retry-After") == "" {
		t.Errorf("a new connection was answered %s", again.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	// With its context cancelled before all clients were told, Drain leaves the rest to Close.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.hub.Drain(ctx, time.Second)
}
