package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// streamState is a gateway's answer about a channel's stream.
type streamState struct {
	Stream struct {
		ID       string `json:"stream_id"`
		Retained struct {
			Messages int
			Oldest   uint64 `json:"oldest_available_serial"`
		}
	}
}

func (n *node) stateOf(t *testing.T, a *app.App, channel string) (s streamState) {
	t.Helper()
	if err := n.sign(t, a).Do(t.Context(), http.MethodGet, []string{"channels", channel, "history", "state"}, nil, nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *node) erase(t *testing.T, a *app.App, channel, operation string, more map[string]any) (said map[string]any) {
	t.Helper()
	body := map[string]any{"confirm_channel": channel, "confirm_operation": operation, "reason": "a test"}
	for name, value := range more {
		body[name] = value
	}
	if err := n.sign(t, a).Do(t.Context(), http.MethodPost, []string{"channels", channel, "history", operation}, nil, body, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// TestTime01ErasingUnderLoad purges and resets a channel in turn at two gateways, with the permissions of the
// compose file, while events are published. Live clients get every event once and in order, since they have
// the removed events before the removal. No other channel is touched. In the end all gateways agree, and so
// does one that is started afterwards.
func TestTime01ErasingUnderLoad(t *testing.T) {
	a := tenant("4711")
	a.Recovery = app.Recovery{Enabled: true, MaxEvents: 1000, MaxBytes: 1 << 20, Age: time.Minute}
	c := start(t, 2, settings{compose: true, apps: []*app.App{a}})
	var watchers []*watcher
	for _, n := range c.nodes {
		w := &watcher{}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var err error
		w.Client, err = client.Dial(ctx, client.Options{URL: "http://" + n.Addr(), Key: a.Key, Protocol: pusher.V2, OnEvent: w.take})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() })
		if err := w.Subscribe(ctx, "orders"); err != nil {
			t.Fatal(err)
		}
		watchers = append(watchers, w)
	}
	signed := c.nodes[0].sign(t, a)
	publish(t, signed, "other", "kept")
	other := c.nodes[0].stateOf(t, a, "other")
	const events = 200
	newest := c.nodes[0].stateOf(t, a, "orders").Stream.ID
	ids := map[string]bool{newest: true}
	for i := range events {
		publish(t, signed, "orders", strconv.Itoa(i))
		by := c.nodes[i/10%2]
		if i%10 == 9 {
			// After a disturbance, an event that is still in flight may be purged before a gateway reads it
			// again, and is then reported as missing.
			await(t, "orders", i+1, watchers...)
		}
		switch i % 20 {
		case 9:
			by.erase(t, a, "orders", "purge", map[string]any{"mode": "all"})
		case 19:
			said := by.erase(t, a, "orders", "reset", nil)
			newest = said["new_stream_id"].(string)
			ids[newest] = true
		}
	}
	await(t, "orders", events, watchers...)
	for i, w := range watchers {
		for n, e := range w.all("orders") {
			if e.Data != strconv.Itoa(n) {
				t.Fatalf("client %d: event %d is %s", i, n, e.Data)
			}
			if !ids[e.StreamID] {
				t.Errorf("client %d: event %d is of the stream %q, which never was", i, n, e.StreamID)
			}
		}
	}
	if len(ids) != 11 {
		t.Errorf("there were %d streams, want 11", len(ids))
	}
	// A gateway that has not heard of the last reset would report the event with the previous stream.
	for i, n := range c.nodes {
		eventually(t, fmt.Sprintf("gateway %d knows the newest stream", i), func() bool { return n.stateOf(t, a, "orders").Stream.ID == newest })
	}
	publish(t, signed, "orders", "last")
	await(t, "orders", events+1, watchers...)
	last := watchers[0].all("orders")[events]
	c.join()
	for i, n := range c.nodes {
		// Replicas may be behind for a moment.
		eventually(t, fmt.Sprintf("gateway %d says what there is", i), func() bool {
			s := n.stateOf(t, a, "orders")
			return s.Stream.ID == last.StreamID && s.Stream.Retained.Oldest == last.Serial
		})
		if now := n.stateOf(t, a, "other"); now != other {
			t.Errorf("gateway %d: of another channel %+v, want %+v", i, now, other)
		}
		r, err := n.log.Retained(t.Context(), a.ID, "orders")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.log.After(t.Context(), a.ID, "orders", broker.Position{Epoch: r.Epoch, Offset: last.Serial - 2}, 10); !errors.Is(err, broker.ErrPositionExpired) {
			t.Errorf("gateway %d: after what was purged: %v", i, err)
		}
	}
	if last.StreamID != watchers[1].all("orders")[events].StreamID {
		t.Error("the clients do not agree about the stream")
	}
}
