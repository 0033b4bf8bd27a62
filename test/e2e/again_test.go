package e2e

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
)

// leaderlessFeed refuses every attach with ErrUnavailable until mended is set.
type leaderlessFeed struct {
	broker.Feed
	mended atomic.Bool
}

func (f *leaderlessFeed) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if !f.mended.Load() {
		return nil, fmt.Errorf("%w: no leader", broker.ErrUnavailable)
	}
	return f.Feed.Attach(ctx, app, channel, sink)
}

// TestTime08PusherComesBackForWhatWasRefused: pusher-js keeps a channel that was refused while the log was
// unavailable as one with a pending request. The server makes the client reconnect, and the client then
// subscribes again.
func TestTime08PusherComesBackForWhatWasRefused(t *testing.T) {
	t.Parallel()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	feed := &leaderlessFeed{Feed: log}
	h, err := hub.New(hub.Options{
		Apps: app.NewRegistry(&app.App{ID: "app", Key: "app-key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}),
		Feed: feed, Publisher: log, Metrics: hub.NewMetrics(prometheus.NewRegistry(), "sockudo_", "1", 1000),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		_ = h.Close(context.Background())
		server.Close()
	})
	host, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	client := script(t, "reconnect.mjs", host, port, "", "orders")
	var got []string
	for len(got) == 0 || got[len(got)-1] != "subscribed" {
		var s struct{ State string }
		client.line(&s)
		got = append(got, s.State)
		feed.mended.Store(s.State == "refused 503" || feed.mended.Load())
	}
	want := "connected refused 503 told 4100 again in 1000 connecting connected subscribed"
	if s := strings.Join(slices.Compact(got), " "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}
