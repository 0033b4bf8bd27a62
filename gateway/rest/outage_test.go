package rest_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/gateway/rest"
)

// written is log output that several requests write to.
type written struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// TestWeeks03APublishWithoutItsNumbersIsOneLine: while the census is unavailable, publishes that request
// counts give one log line. Before, each of them gave a line.
func TestWeeks03APublishWithoutItsNumbersIsOneLine(t *testing.T) {
	said := &written{}
	r := newRig(t, func(o *rest.Options) {
		o.Census, o.Logger = &crowd{err: errOutage}, slog.New(slog.NewTextHandler(said, nil))
	})
	for range 20 {
		a := r.call(http.MethodPost, "app", "/events", []byte(`{"name":"n","channel":"c","data":"d","info":"subscription_count"}`))
		if a.Status != http.StatusOK {
			t.Fatalf("got %d %s", a.Status, a.Body)
		}
	}
	if n := strings.Count(said.text.String(), "without the numbers"); n != 1 {
		t.Errorf("the log has %d lines of it:\n%s", n, said.text.String())
	}
}
