package hub

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/kv"
)

// tardy is a table that is slow to write seats.
type tardy struct{ kv.Table }

func (t tardy) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if strings.HasPrefix(key, "seat.") {
		<-time.After(5 * time.Millisecond)
	}
	return t.Table.Put(ctx, key, value, ttl)
}

// TestWS06TheNextConnectionMayBeElsewhere: every gateway counts an established connection, even if the next
// one comes at once and to another gateway.
func TestWS06TheNextConnectionMayBeElsewhere(t *testing.T) {
	table := tardy{kv.NewMemoryTable(nil)}
	var rigs []*rig
	for _, node := range []string{"n1", "n2"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		roster, err := presence.New(ctx, presence.Options{Table: table, Node: node, ToldWithin: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			roster.Close(ctx)
		})
		r := newRig(t, func(o *Options, a *app.App) { o.Roster, o.Node, a.Limits.MaxConnections = roster, node, 2 })
		eventually(t, "the gateway knows the others' connections", func() bool {
			_, followed := r.hub.quota.Elsewhere("app")
			return followed
		})
		rigs = append(rigs, r)
	}
	for i, order := range [][3]int{{0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 1, 0}, {1, 0, 1}} {
		var in []*peer
		for _, at := range order[:2] {
			p, _ := rigs[at].connect()
			in = append(in, p)
		}
		p := rigs[order[2]].dial("/app/key")
		p.want("pusher:error")
		if got := p.closed(); got != 4004 {
			t.Errorf("%d: the third one was closed with %d, want 4004", i, got)
		}
		for _, p := range in {
			p.hangUp()
		}
		for _, r := range rigs {
			eventually(t, "everybody has left", func() bool {
				elsewhere, _ := r.hub.quota.Elsewhere("app")
				return r.hub.quota.Here("app")+elsewhere == 0
			})
		}
	}
}

// TestWhoGetsNoConnectionIsNotCounted: a handshake whose connection cannot be hijacked was admitted before
// that fails. It must give its place in the app's quota back.
func TestWhoGetsNoConnectionIsNotCounted(t *testing.T) {
	r := newRig(t, func(_ *Options, a *app.App) { a.Limits.MaxConnections = 1 })
	for range 2 {
		rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/app/key", nil)
		req.Header = http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}
		if r.hub.ServeHTTP(rec, req); rec.Code != http.StatusInternalServerError {
			t.Errorf("answered %d %s, want 500", rec.Code, rec.Body)
		}
	}
	if n, told := r.hub.Connections(), r.number("sockudo_connected"); n != 0 || told != 0 {
		t.Errorf("%d connections are counted, and %v in the metric", n, told)
	}
	p, _ := r.connect()
	p.usable()
}
