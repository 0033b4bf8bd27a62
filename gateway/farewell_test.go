package gateway_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/kv"
)

// punctual is a table that refuses writes with an expired context, like a table over a network.
type punctual struct{ kv.Table }

func (p punctual) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.Table.Put(ctx, key, value, ttl)
}

// TestAStopWithoutTimeForConnectionsTakesItsLeave: otherwise other gateways count the members of this gateway
// until its lease expires. Without connections there is nothing to warn of.
func TestAStopWithoutTimeForConnectionsTakesItsLeave(t *testing.T) {
	var said bytes.Buffer
	r := run(t, func(o *gateway.Options) {
		o.Drain, o.Table, o.Logger = time.Nanosecond, punctual{kv.NewMemoryTable(nil)}, slog.New(slog.NewTextHandler(&said, nil))
	})
	r.request("GET", "http://"+r.Addr()+"/health", "")
	r.stop()
	r.over <- <-r.over
	if text := said.String(); strings.Contains(text, "level=WARN") || !strings.Contains(text, "stopping") {
		t.Errorf("the log of the stop: %s", text)
	}
}

// distant is a table whose writes take 20 ms.
type distant struct{ kv.Table }

func (d distant) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	<-time.After(20 * time.Millisecond)
	return d.Table.Put(ctx, key, value, ttl)
}

// written is a work queue that records what was put.
type written struct {
	broker.Work
	mu  sync.Mutex
	all string
}

func (w *written) Put(ctx context.Context, queue string, tasks ...broker.Task) (int, error) {
	w.mu.Lock()
	for _, task := range tasks {
		w.all += string(task.Body)
	}
	w.mu.Unlock()
	return w.Work.Put(ctx, queue, tasks...)
}

// TestAStopWithoutTimeForConnectionsTellsWhoLeft: this gateway sends the webhooks about its members. No other
// gateway does so, since this one is not dead.
func TestAStopWithoutTimeForConnectionsTellsWhoLeft(t *testing.T) {
	work := &written{Work: memory.NewWork()}
	r := run(t, func(o *gateway.Options) {
		o.Drain, o.Table, o.Work = time.Nanosecond, distant{kv.NewMemoryTable(nil)}, work
		o.Apps = app.NewRegistry(&app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits,
			Webhooks: []app.Webhook{{URL: "http://127.0.0.1:1/"}}})
	})
	told := func(what string) bool {
		work.mu.Lock()
		defer work.mu.Unlock()
		return strings.Contains(work.all, what)
	}
	r.member("ann", "presence-room", "room")
	r.until("the channel is occupied", func() bool { return told(`{"n":"channel_occupied","c":"room",`) })
	r.stop()
	r.over <- <-r.over
	for _, want := range []string{
		`{"n":"member_removed","c":"presence-room","u":"ann"}`, `{"n":"channel_vacated","c":"presence-room",`, `{"n":"channel_vacated","c":"room",`,
	} {
		if !told(want) {
			t.Errorf("the application is not told %s, but %s", want, work.all)
		}
	}
}
