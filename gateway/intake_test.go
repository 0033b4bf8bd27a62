package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway"
)

// stalled is a log that acknowledges nothing until it is released.
type stalled struct {
	broker.Log
	entered  chan struct{}
	released chan struct{}
}

func (l *stalled) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	l.entered <- struct{}{}
	<-l.released
	return l.Log.Publish(ctx, app, events...)
}

// TestWhatWaitsForTheLogIsBounded has a log that does not answer. What is beyond the bounds
// is refused at once with the name of the bound, and what waits is stored in the end.
func TestWhatWaitsForTheLogIsBounded(t *testing.T) {
	for _, c := range []struct {
		what, size  string
		events, max int64
		fit         int
	}{
		{"events", "x", 5, 64 << 20, 5},
		{"bytes", strings.Repeat("x", 10_000), 1000, 1 << 20, 99},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := &stalled{entered: make(chan struct{}), released: make(chan struct{})}
			r := run(t, func(o *gateway.Options) {
				l.Log = o.Log
				o.Log, o.Unsigned, o.MaxPublishing, o.MaxPublishingBytes = l, true, c.events, c.max
			})
			url := "http://" + r.Addr() + "/apps/app/events"
			publish := func(i int) (int, string) {
				return r.request(http.MethodPost, url, fmt.Sprintf(`{"name":"n","channel":"c%d","data":%q}`, i, c.size))
			}
			var waiting sync.WaitGroup
			for i := range c.fit {
				waiting.Go(func() {
					if status, text := publish(i); status != http.StatusOK {
						t.Errorf("what waited was answered with %d %s", status, text)
					}
				})
			}
			for range c.fit {
				<-l.entered
			}
			if status, text := publish(c.fit); status != http.StatusServiceUnavailable || !strings.Contains(text, "publishing.max_"+c.what) {
				t.Errorf("beyond the bound: %d %s", status, text)
			}
			_, metrics := r.request(http.MethodGet, "http://"+r.MetricsAddr()+"/metrics", "")
			for _, want := range []string{`limits_total{app_id="app",limit="publishing"`, fmt.Sprintf(`} %d`, c.fit)} {
				if !strings.Contains(metrics, want) {
					t.Errorf("the metrics have no %s", want)
				}
			}
			close(l.released)
			waiting.Wait()
			go func() { <-l.entered }()
			if status, text := publish(c.fit); status != http.StatusOK {
				t.Errorf("afterwards: %d %s", status, text)
			}
		})
	}
}
