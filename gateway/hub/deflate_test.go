package hub

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// zipped is a client of the gws library with compression on.
type zipped struct {
	gws.BuiltinEventHandler
	mu    sync.Mutex
	texts []string
}

func (z *zipped) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.texts = append(z.texts, string(m.Bytes()))
}

func (z *zipped) has(part string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, text := range z.texts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func TestDeflate(t *testing.T) {
	dialZipped := func(t *testing.T, r *rig) (*zipped, *gws.Conn, http.Header) {
		t.Helper()
		z := &zipped{}
		conn, resp, err := gws.NewClient(z, &gws.ClientOption{
			Addr:              "ws" + strings.TrimPrefix(r.server.URL, "http") + "/app/key?protocol=7",
			PermessageDeflate: gws.PermessageDeflate{Enabled: true, ServerContextTakeover: true, ClientContextTakeover: true, Threshold: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); conn.ReadLoop() }()
		t.Cleanup(func() { _ = conn.NetConn().Close(); <-done })
		return z, conn, resp.Header
	}
	t.Run("frames arrive whole, compressed both ways, without context takeover", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Compression = true })
		z, conn, header := dialZipped(t, r)
		answer := header.Get(websocket.Extensions)
		if !strings.Contains(answer, "server_no_context_takeover") || !strings.Contains(answer, "client_no_context_takeover") || strings.Contains(answer, "window_bits") {
			t.Errorf("the answer is %q", answer)
		}
		// The request is long enough for the client to compress it.
		if err := conn.WriteString(`{"event":"pusher:subscribe","data":{"channel":"market","delta":true,"pad":"` + strings.Repeat("x", 300) + `"}}`); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the subscription succeeds", func() bool { return z.has("subscription_succeeded") })
		plain := r.subscribed("market", true)
		for n := range 20 {
			r.publish("market", "tick", tick(n))
			want := plain.next().text
			eventually(t, "the same frame arrives", func() bool { return z.has(want) })
		}
	})
	t.Run("the same compressed bytes go to all, and they are fewer", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Compression = true })
		var peers []*peer
		for range 2 {
			p := dialWith(t, r, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
			p.frame()
			p.subscribe("market")
			peers = append(peers, p)
		}
		plain := r.subscribed("market", false)
		r.publish("market", "tick", tick(1))
		full := plain.frame()
		a, b := peers[0].frame(), peers[1].frame()
		if a.payload != b.payload || a.wire >= full.wire/2 {
			t.Errorf("%d and %d bytes for a frame of %d", a.wire, b.wire, full.wire)
		}
	})
	t.Run("a client that closes gets its close frame", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Compression = true })
		p := dialWith(t, r, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
		p.frame()
		r.find(t).end(4200)
		if code := p.closed(); code != 4200 {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("off by default, and what cannot be honoured is declined", func(t *testing.T) {
		r := newRig(t, nil)
		if _, _, header := dialZipped(t, r); header.Get(websocket.Extensions) != "" {
			t.Errorf("compression is on: %q", header.Get(websocket.Extensions))
		}
		r = newRig(t, func(o *Options, _ *appT) { o.Compression = true })
		p := dialWith(t, r, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n")
		if got := p.header.Get(websocket.Extensions); got != "" {
			t.Errorf("the offer was answered with %q", got)
		}
		p.want("pusher:connection_established")
		p.subscribe("market")
		r.publish("market", "tick", tick(1))
		p.want("tick")
	})
	t.Run("a compressed message that grows beyond the limit ends its connection only", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Compression, o.MaxMessage = true, 4096 })
		z, conn, _ := dialZipped(t, r)
		bystander := r.subscribed("market", false)
		eventually(t, "the connection is established", func() bool { return z.has("connection_established") })
		_ = conn.WriteString(fmt.Sprintf(`{"event":"pusher:ping","data":%q}`, strings.Repeat("a", 1<<20)))
		eventually(t, "the connection is ended", func() bool {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			return len(r.clients()) == 1
		})
		r.publish("market", "tick", tick(1))
		bystander.want("tick")
	})
}

func (r *rig) clients() []*Client {
	return r.hub.everybody()
}

// dialWith opens a connection with further header lines.
func dialWith(t *testing.T, r *rig, lines string) *peer {
	t.Helper()
	return dialHeader(t, strings.TrimPrefix(r.server.URL, "http://"), "/app/key?protocol=7", lines)
}
