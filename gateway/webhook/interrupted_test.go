package webhook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// interrupting is a queue whose turns end at once.
type interrupting struct {
	broker.Work
	turns atomic.Int64
}

func (w *interrupting) Take(context.Context, string, int, func(broker.Taken)) error {
	w.turns.Add(1)
	return errors.New("the server is away")
}

type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *written) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text.String(), "\n")
}

// TestWeeks03AnOutageIsOneLineForEachAddress: before, while the queues could not be read, each attempt gave a
// log line.
func TestWeeks03AnOutageIsOneLineForEachAddress(t *testing.T) {
	w := &interrupting{Work: memory.NewWork()}
	said := &written{}
	run(t, tenant(app.Webhook{URL: "http://127.0.0.1:1/"}, app.Webhook{URL: "http://127.0.0.1:1/other"}), w, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(said, nil))
	})
	eventually(t, "it was tried again and again", func() bool { return w.turns.Load() > 10 })
	if n := said.lines(); n != 2 {
		t.Errorf("the log has %d lines of two addresses", n)
	}
}
