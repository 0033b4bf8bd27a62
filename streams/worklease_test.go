package streams

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// slowTable has a lease that its holder renews every three seconds. Its first answer takes long.
type slowTable struct {
	kv.Table
	began  time.Time
	asked  bool
	stolen chan struct{}
}

func (*slowTable) Watch(string, kv.Watcher) (func(), error) { return func() {}, nil }

func (s *slowTable) Read(context.Context, string) (kv.Entry, error) {
	if !s.asked {
		s.asked = true
		<-time.After(13 * time.Second)
	}
	return kv.Entry{Value: []byte("somebody"), Revision: 1 + uint64(time.Since(s.began)/(3*time.Second))}, nil
}

func (s *slowTable) Swap(context.Context, string, []byte, time.Duration, uint64) (uint64, error) {
	close(s.stolen)
	return 0, kv.ErrConflict
}

// TestALeaseIsNotTakenForAnAnswerThatTookLong: that nobody could answer for longer than a lease lives says
// nothing of whoever holds it.
func TestALeaseIsNotTakenForAnAnswerThatTookLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowTable{began: time.Now(), stolen: make(chan struct{})}
		l := &lease{table: s, ttl: 10 * time.Second, key: "work.q", holder: "another"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		select {
		case <-s.stolen:
			t.Error("the lease was taken from its holder")
		default:
		}
	})
}
