package hub

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
)

// closing is an HTTP/2 response writer that closes the hub while the head of the response is sent.
type closing struct {
	*httptest.ResponseRecorder
	close func()
}

func (c *closing) FlushError() error {
	if c.close != nil {
		c.close()
		c.close = nil
	}
	c.Flush()
	return nil
}

// TestRun01AStreamThatComesTooLateIsToldSo: a reader whose stream begins while the hub is closing is told to
// reconnect elsewhere, like all others.
func TestRun01AStreamThatComesTooLateIsToldSo(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	done := make(chan error, 1)
	w := &closing{httptest.NewRecorder(), func() {
		go func() { done <- r.hub.Close(context.Background()) }()
		eventually(t, "the hub is closed", r.hub.isClosed)
	}}
	q := httptest.NewRequest(http.MethodGet, "/app/key/events?channel=orders", nil)
	q.ProtoMajor = 2
	r.hub.ServeHTTP(w, q)
	if got := w.Body.String(); !strings.HasPrefix(got, "retry:") || !strings.Contains(got, "event: reconnect\ndata: {\"code\":4200,") {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTime06WhoHasGoneHasNoChannelsAttached: when a reader disconnects while the channels of its stream are
// being attached, no further channel is attached for it.
func TestTime06WhoHasGoneHasNoChannelsAttached(t *testing.T) {
	gate := turnstile{came: make(chan struct{}), next: make(chan struct{})}
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { gate.Feed, o.Feed = o.Feed, &gate })
	ctx, leave := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	q := httptest.NewRequest(http.MethodGet, "/app/key/events?channel=orders&channel=bills", nil).WithContext(ctx)
	q.ProtoMajor = 2
	over := make(chan struct{})
	go func() { defer close(over); r.hub.ServeHTTP(w, q) }()
	<-gate.came
	leave()
	gate.next <- struct{}{}
	select {
	case <-over:
	case <-gate.came:
		t.Error("a channel is attached for nobody")
		gate.next <- struct{}{}
		<-over
	}
	if w.Body.Len() > 0 {
		t.Errorf("who has gone got %q", w.Body)
	}
	if n := metricValue(t, r.registry, "sockudo_connections_refused_total", nil); n != 0 {
		t.Errorf("%v were refused, and nobody is there", n)
	}
}
