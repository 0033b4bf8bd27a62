package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
)

// stalled is a log that acknowledges nothing before it is released.
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

// TestWhatWaitsForTheLogIsBounded has a log that does not answer. A publish beyond a bound is refused at once
// and the answer names the bound. Waiting publishes are stored in the end.
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

// TestTrust07AppsWhoseLogIsStuckLeaveOthersTheirPart: while all apps but one wait for a stuck log, each with
// as much as it may have, the last app still gets its share.
func TestTrust07AppsWhoseLogIsStuckLeaveOthersTheirPart(t *testing.T) {
	const apps = 4
	log, err := memory.New(memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	l := &stalled{Log: log, entered: make(chan struct{}, 1000), released: make(chan struct{})}
	r := run(t, func(o *gateway.Options) {
		var all []*app.App
		for i := range apps {
			id := fmt.Sprint("a", i)
			all = append(all, &app.App{ID: id, Key: id, Secret: "s", Enabled: true, Limits: app.DefaultLimits})
			if err := log.AddApp(id); err != nil {
				t.Fatal(err)
			}
		}
		o.Apps = app.NewRegistry(all...)
		o.Log, o.Unsigned, o.MaxPublishing = l, true, 80
	})
	publish := func(app, i int) int {
		status, _ := r.request(http.MethodPost, fmt.Sprintf("http://%s/apps/a%d/events", r.Addr(), app), fmt.Sprintf(`{"name":"n","channel":"c%d","data":"x"}`, i))
		return status
	}
	var waiting sync.WaitGroup
	fill := func(app int) (in int) {
		for i := 0; ; i++ {
			answered := make(chan int, 1)
			waiting.Go(func() { answered <- publish(app, i) })
			select {
			case <-l.entered:
				in++
			case status := <-answered:
				if status != http.StatusServiceUnavailable {
					t.Fatalf("app %d was answered with %d", app, status)
				}
				return in
			}
		}
	}
	for i, want := range []int{10 + 40, 10, 10, 10} {
		if in := fill(i); in != want {
			t.Errorf("app %d has %d events under way, want %d", i, in, want)
		}
	}
	close(l.released)
	waiting.Wait()
	if status := publish(0, 1000); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
}
