package streams

import (
	"context"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// TestRun05HoldingsOfTheLog: all streams are listed with what they hold, those beside the log as well, and a
// missing stream is listed with the reason why nothing is known of it.
func TestRun05HoldingsOfTheLog(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	if _, err := l.OpenTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"a", "b", "a"} {
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	find := func(purpose string) (found Holding) {
		all, left := l.Holdings(t.Context())
		if left != 0 {
			t.Errorf("%d left out", left)
		}
		for _, h := range all {
			if strings.Contains(h.Purpose, purpose) {
				found = h
			}
		}
		return found
	}
	if got := find("events of the app app-1"); got.Messages != 3 || got.Subjects != 2 || got.Bytes == 0 || got.Copies != 1 || got.Leader != "" || got.Err != nil {
		t.Errorf("got %+v", got)
	}
	for _, purpose := range []string{"events of the app app.2 ü", "orders to all gateways", "state of the cluster"} {
		if got := find(purpose); got.Name == "" || got.Err != nil {
			t.Errorf("%s: %+v", purpose, got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	all, _ := l.Holdings(ended)
	for _, h := range all {
		if h.Err == nil {
			t.Errorf("nobody was asked, and yet: %+v", h)
		}
	}
}
