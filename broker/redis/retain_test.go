package redis

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestTrust21RaisedLimits: entries name their predecessor, so a channel that a smaller limit has cut does not
// look complete after the limit is raised.
func TestTrust21RaisedLimits(t *testing.T) {
	t.Parallel()
	url := redisserver.Start(t, "--appendonly", "yes").URL()
	keeping := func(n int64) func(*Options) { return func(o *Options) { o.Apps[0].MaxMessages = n } }
	var all []broker.Position
	publish := func(l *Log, n int) {
		for i := range n {
			got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: fmt.Sprint(i), Data: []byte(`{}`)}})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, got[0].Position)
		}
	}
	low := open(t, url, false, keeping(3))
	publish(low, 10)
	_ = low.Close()
	l := open(t, url, false, keeping(100))
	publish(l, 2)
	for _, pos := range []broker.Position{{Epoch: all[0].Epoch}, all[0], all[5]} {
		if page, err := l.After(t.Context(), "app-1", "c", pos, 100); !errors.Is(err, broker.ErrPositionExpired) {
			t.Errorf("after %d: got %v, %v, want ErrPositionExpired", pos.Offset, page, err)
		}
	}
	if page, err := l.After(t.Context(), "app-1", "c", all[8], 100); err != nil || len(page.Publications) != 3 {
		t.Errorf("after one that is kept: got %v, %v", page, err)
	}
}
