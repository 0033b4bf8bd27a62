package hub

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
)

// closing is an answer of HTTP/2 while whose head is sent the hub is closed.
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

// TestRun01AStreamThatComesTooLateIsToldSo: a reader whose stream begins while the hub is closed gets the
// answer that he is to come back elsewhere, as all others do.
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
