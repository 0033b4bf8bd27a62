package streams

import (
	"context"
	"errors"
	"fmt"
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

// TestALeaseIsNotTakenForAnAnswerThatTookLong: a table that does not answer for longer than a lease lives
// does not prove that the lease's holder is gone.
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

// forgetful is a table that stores the third write and loses the answer.
type forgetful struct {
	kv.Table
	swaps int
}

func (f *forgetful) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	r, err := f.Table.Swap(ctx, key, value, ttl, revision)
	if f.swaps++; f.swaps == 3 && err == nil {
		return 0, fmt.Errorf("%w: the answer was lost", kv.ErrUnavailable)
	}
	return r, err
}

// TestWorkSurvivesALostAnswer: the holder of a lease goes on when the answer to a renewal is lost.
func TestWorkSurvivesALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &forgetful{Table: kv.NewMemoryTable(nil)}
		l := &lease{table: table, ttl: 10 * time.Second, key: "work.q", holder: "one"}
		if err := l.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		for table.swaps < 8 {
			<-time.After(l.ttl / 3)
			if err := l.renew(t.Context()); err != nil {
				t.Fatalf("the holder lost the lease after %d writes: %v", table.swaps, err)
			}
		}
		l.release(t.Context())
		if e, err := table.Read(t.Context(), l.key); err != nil || string(e.Value) != freed {
			t.Errorf("the lease that was given up is %q, %v", e.Value, err)
		}
	})
}

// unanswering is a table that never answers a write.
type unanswering struct {
	kv.Table
	ended error
}

func (u *unanswering) Swap(ctx context.Context, _ string, _ []byte, _ time.Duration, _ uint64) (uint64, error) {
	<-ctx.Done()
	u.ended = ctx.Err()
	return 0, u.ended
}

// TestWhoGivesUpALeaseBlamesNobody: the write is called off after a while. A deadline that passed would be a failure
// of the table, and the gateway not ready until it stores something else.
func TestWhoGivesUpALeaseBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, began := &unanswering{}, time.Now()
		l := &lease{table: table, ttl: 10 * time.Second, key: "work.q", holder: "one"}
		l.release(t.Context())
		if took := time.Since(began); took != releaseTime || !errors.Is(table.ended, context.Canceled) {
			t.Errorf("it ended after %v with %v", took, table.ended)
		}
	})
}
