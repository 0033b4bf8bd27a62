package webhook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const patience = 3 * time.Minute

// receiver is an application that receives webhooks.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(n int, text string) int // by the number of requests before
	requests []request
	attempts int
}

type request struct {
	header http.Header
	text   string
	Time   int64 `json:"time_ms"`
	Events []map[string]any
}

func listen(t *testing.T, answer func(n int, text string) int) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		got := request{header: req.Header, text: string(b)}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Errorf("body %s: %v", b, err)
		}
		r.mu.Lock()
		n := r.attempts
		r.attempts++
		r.mu.Unlock()
		status := http.StatusOK
		if r.answer != nil {
			status = r.answer(n, got.text)
		}
		if status == http.StatusOK {
			r.mu.Lock()
			r.requests = append(r.requests, got)
			r.mu.Unlock()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// names returns the received events, each with its channel and user.
func (r *receiver) names() []string {
	var out []string
	for _, q := range r.all() {
		for _, e := range q.Events {
			s := e["name"].(string) + " " + e["channel"].(string)
			if u, ok := e["user_id"].(string); ok {
				s += " " + u
			}
			if d, ok := e["data"].(string); ok {
				s += " " + d
			}
			out = append(out, s)
		}
	}
	return out
}

func tenant(hooks ...app.Webhook) *app.App {
	return &app.App{ID: "app", Key: "gw_demo_key_01", Secret: "gw_demo_secret_01", Enabled: true, Webhooks: hooks}
}

func run(t *testing.T, a *app.App, work broker.Work, change func(*Options)) *Hooks {
	t.Helper()
	opt := Options{
		Apps: app.NewRegistry(a), Work: work, Registry: prometheus.NewRegistry(), Prefix: "x_", Port: "1",
		Grace: 200 * time.Millisecond, FirstRetry: 5 * time.Millisecond, MaxRetry: 20 * time.Millisecond,
	}
	if opt.Work == nil {
		opt.Work = memory.NewWork()
	}
	if change != nil {
		change(&opt)
	}
	h, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.Close(ctx)
	})
	return h
}

// total returns the sum of a metric.
func total(c prometheus.Collector) float64 {
	got := make(chan prometheus.Metric)
	go func() {
		c.Collect(got)
		close(got)
	}()
	sum := 0.0
	for m := range got {
		var d dto.Metric
		if m.Write(&d) == nil {
			sum += d.GetCounter().GetValue()
		}
	}
	return sum
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}
