package gateway_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// heldMetrics is a collector that waits for may.
type heldMetrics struct {
	begun atomic.Int32
	may   chan struct{}
}

func (*heldMetrics) Describe(chan<- *prometheus.Desc) {}

func (h *heldMetrics) Collect(chan<- prometheus.Metric) {
	h.begun.Add(1)
	<-h.may
}

// TestTrust01ScrapesAreBounded: scrapes in progress are bounded. Before, a client with access to metrics had
// as many made at once as it requested.
func TestTrust01ScrapesAreBounded(t *testing.T) {
	const most = 16
	r, registry := runApps(t, nil)
	h := &heldMetrics{may: make(chan struct{})}
	registry.MustRegister(h)
	t.Cleanup(func() { registry.Unregister(h) })
	url := "http://" + r.MetricsAddr() + "/metrics"
	var asking sync.WaitGroup
	for range most {
		asking.Go(func() {
			if status, _ := r.request(http.MethodGet, url, ""); status != http.StatusOK {
				t.Errorf("one of those that there is room for: got %d", status)
			}
		})
	}
	until(t, "all are being answered", func() bool { return h.begun.Load() == most })
	for range most {
		if status, _ := r.request(http.MethodGet, url, ""); status != http.StatusServiceUnavailable {
			t.Errorf("one too many: got %d", status)
		}
	}
	close(h.may)
	asking.Wait()
	// A reader may have the whole response a moment before its place is free.
	until(t, "there is room again", func() bool {
		status, _ := r.request(http.MethodGet, url, "")
		return status == http.StatusOK
	})
}
