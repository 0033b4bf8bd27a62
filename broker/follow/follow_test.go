package follow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/test/fault"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// TestRooms02QueueIsBounded: an item that was taken counts until it is done, and an item beyond the bound is
// refused without waiting.
func TestRooms02QueueIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		items int
		bytes int64
		sizes []int
		want  []bool
	}{
		{"in items", 2, 100, []int{1, 1, 1}, []bool{true, true, false}},
		{"in bytes", 9, 100, []int{60, 60, 40, 1}, []bool{true, false, true, false}},
		{"one that is too large", 9, 100, []int{101, 100}, []bool{false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := NewQueue[int](c.items, c.bytes)
			for range 3 {
				var got []bool
				for i, size := range c.sizes {
					got = append(got, q.Put(i, size))
				}
				if !slices.Equal(got, c.want) {
					t.Fatalf("taken %v, want %v", got, c.want)
				}
				full := q.Len()
				for range q.All(nil) {
					if q.Len() != full {
						t.Fatalf("%d of %d count while one is under way", q.Len(), full)
					}
					if full--; full == 0 {
						break
					}
				}
				q = NewQueue[int](c.items, c.bytes)
			}
		})
	}
}

// TestQueueKeepsOrder: several goroutines put, one takes, and the items of each come in order.
func TestQueueKeepsOrder(t *testing.T) {
	t.Parallel()
	const each = 1000
	q := NewQueue[[2]int](16, 1000)
	var putting sync.WaitGroup
	for who := range 4 {
		putting.Go(func() {
			for i := 0; i < each; {
				if q.Put([2]int{who, i}, 1) {
					i++
				} else {
					runtime.Gosched()
				}
			}
		})
	}
	next := [4]int{}
	taken := 0
	over := make(chan struct{})
	for x := range q.All(over) {
		if x[1] != next[x[0]] {
			t.Fatalf("%v comes, want %d", x, next[x[0]])
		}
		next[x[0]]++
		if taken++; taken == 4*each {
			close(over)
		}
	}
	putting.Wait()
	if q.Len() != 0 {
		t.Errorf("%d are left", q.Len())
	}
}

// TestRooms02RetriesTogetherAreOne: before, each of thousands of failures of an unavailable log left a
// goroutine waiting to try again.
func TestRooms02RetriesTogetherAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r Retry
		var running sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		started, done := 0, 0
		later := func() { r.Later(ctx, func(f func()) { started++; running.Go(f) }, func() { done++ }) }
		for range 1000 {
			later()
		}
		<-time.After(2 * retryPause)
		synctest.Wait()
		if started != 1 || done != 1 {
			t.Errorf("%d waited and %d were done, want one each", started, done)
		}
		later()
		cancel()
		running.Wait()
		if started != 2 || done != 1 {
			t.Errorf("%d waited and %d were done at the end, want 2 and 1", started, done)
		}
	})
}

// TestRooms02RepairsHaveABound: whatever a repair begins with, the number of running repairs is bounded, and
// a repair that waits for a sink does not read.
func TestRooms02RepairsHaveABound(t *testing.T) {
	t.Parallel()
	for _, first := range []Do{Read, Inquire} {
		synctest.Test(t, func(t *testing.T) {
			y := newToy(2)
			defer y.close()
			const channels = 10
			for i := range channels {
				y.begins <- nil
				if _, err := y.feed.Attach(t.Context(), fmt.Sprint("app", i%2), fmt.Sprint(i), fmt.Sprint(i), &recorder{}); err != nil {
					t.Fatal(err)
				}
			}
			y.asked = nil
			for _, app := range []string{"app0", "app1"} {
				for _, f := range y.feed.Of(app) {
					f.Lock()
					f.Repair(first)
					f.Unlock()
				}
			}
			synctest.Wait()
			for done := range channels {
				y.mu.Lock()
				under := len(y.asked) - done
				y.mu.Unlock()
				if under > 2 || under == 0 {
					t.Fatalf("%d repairs are under way, want 2 at most", under)
				}
				y.answers <- page(1)
				synctest.Wait()
			}
		})
	}
}

// TestRooms02ClosingWhileAttaching: every caller gets an answer, and nothing is left.
func TestRooms02ClosingWhileAttaching(t *testing.T) {
	t.Parallel()
	y := newToy(1)
	const callers = 50
	outcomes := make(chan error, callers)
	for i := range callers {
		go func() {
			_, err := y.feed.Attach(t.Context(), "app", fmt.Sprint(i%7), fmt.Sprint(i%7), &recorder{})
			outcomes <- err
		}()
	}
	for range 3 {
		y.begins <- nil
	}
	for y.feed.Attached() < 7 {
		runtime.Gosched()
	}
	y.close()
	for range callers {
		if err := <-outcomes; err != nil && !errors.Is(err, broker.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if _, err := y.feed.Attach(t.Context(), "app", "c", "c", &recorder{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("attaching afterwards: got %v, want ErrClosed", err)
	}
	if y.feed.Attached() != 0 || y.begun != y.ended {
		t.Errorf("%d channels are followed; %d lines began and %d ended", y.feed.Attached(), y.begun, y.ended)
	}
}

// ordered is a sink that checks each call at once.
type ordered struct {
	mu     sync.Mutex
	busy   bool
	last   uint64
	failed string
}

func (o *ordered) Publication(p *broker.Publication) {
	o.mu.Lock()
	if o.busy {
		o.failed = "two at a time"
	}
	if p.Offset != o.last+1 {
		o.failed = fmt.Sprintf("%d follows %d", p.Offset, o.last)
	}
	o.busy, o.last = true, p.Offset
	o.mu.Unlock()
	runtime.Gosched()
	o.mu.Lock()
	o.busy = false
	o.mu.Unlock()
}

func (o *ordered) Gap(g broker.Gap) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = "a gap"
}

func (o *ordered) state() (uint64, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.failed
}

// TestRooms02FollowingIsOrdered loses live messages while sinks attach and detach and audits run. Each sink
// gets everything above its position once and in order, by one goroutine at a time.
func TestRooms02FollowingIsOrdered(t *testing.T) {
	fault.Seeds(t, 14, func(t *testing.T, rnd *rand.Rand) {
		y := newToy(2)
		defer y.close()
		stay := &ordered{}
		y.begins <- nil
		if _, err := y.feed.Attach(t.Context(), "app", "c", "c", stay); err != nil {
			t.Fatal(err)
		}
		line := y.feed.Of("app")[0].Line().(*toyLine)
		var beside sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		beside.Go(func() { // the log answers
			for i := 0; ctx.Err() == nil; i++ {
				select {
				case y.answers <- page(1 + i%5):
				case <-ctx.Done():
				}
			}
		})
		beside.Go(func() { // audits
			for ctx.Err() == nil {
				newest := y.newest()
				line.Lock()
				if line.Following() && newest > line.At().Offset {
					line.Repair(Read)
				}
				line.Unlock()
				runtime.Gosched()
			}
		})
		beside.Go(func() { // sinks
			for ctx.Err() == nil {
				o := &ordered{}
				o.mu.Lock()
				at, err := y.feed.Attach(ctx, "app", "c", "c", o)
				if err == nil {
					o.last = at.Position().Offset
				}
				o.mu.Unlock()
				if err == nil {
					runtime.Gosched()
					at.Detach()
					if _, failed := o.state(); failed != "" {
						t.Error(failed)
						return
					}
				}
			}
		})
		const numbers = 5000
		for n := uint64(1); n <= numbers; n++ {
			y.mu.Lock()
			y.stored = append(y.stored, n)
			y.mu.Unlock()
			if n == numbers || rnd.IntN(20) > 0 {
				line.receive(message{n, n - 1})
			}
		}
		for last, failed := stay.state(); last < numbers && failed == ""; last, failed = stay.state() {
			runtime.Gosched()
		}
		stop()
		beside.Wait()
		if _, failed := stay.state(); failed != "" {
			t.Error(failed)
		}
	})
}

// TestRooms07NoLockIsHeldWhileASinkIsTold: before, a sink that waited for room blocked everything else on its
// channel (attaching, detaching, audits), and the goroutine that announces a new epoch of the log.
func TestRooms07NoLockIsHeldWhileASinkIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newToy(1)
		defer y.close()
		slow, quick := &recorder{name: "slow", hold: make(chan struct{})}, &recorder{name: "quick"}
		y.begins <- nil
		at, err := y.feed.Attach(t.Context(), "app", "c", "c", slow)
		if err != nil {
			t.Fatal(err)
		}
		line := y.feed.Of("app")[0].Line().(*toyLine)
		go line.receive(message{1, 0})
		synctest.Wait()
		// All of this deadlocks if the lock is held.
		for _, do := range []func(){
			func() { line.receive(message{2, 1}) },
			func() { line.Lock(); line.Unlock() }, //lint:ignore SA2001 it is enough to get it
			func() {
				if _, err := y.feed.Attach(t.Context(), "app", "c", "c", quick); err != nil {
					t.Error(err)
				}
			},
			func() {
				line.Lock()
				line.Gap(broker.Position{Epoch: "f", Offset: 1}, broker.GapEpoch)
				line.LeaveToOthers()
			},
			at.Detach,
			func() { _ = y.feed.Stats(0) },
		} {
			do()
		}
		close(slow.hold)
		synctest.Wait()
		if told := slow.take(); len(told) != 1 {
			t.Errorf("who left was told %q, want the first publication alone", told)
		}
		if told := quick.take(); len(told) != 2 {
			t.Errorf("who came was told %q, want a gap and a publication", told)
		}
	})
}

// TestChoosing: the followers whose last audit is the longest ago are audited first.
func TestChoosing(t *testing.T) {
	t.Parallel()
	var all []*Follower[message]
	for i := range AuditBatch + 10 {
		f := &Follower[message]{Channel: fmt.Sprint(i)}
		f.Auditing(time.Unix(int64(AuditBatch-i), 0))
		if i%100 == 0 {
			f.Miss()
		}
		all = append(all, f)
	}
	oldest := Oldest(slices.Clone(all))
	if len(oldest) != AuditBatch || oldest[0] != all[len(all)-1] || slices.Contains(oldest, all[9]) {
		t.Errorf("%d are chosen, the first is %s", len(oldest), oldest[0].Channel)
	}
	if got := Missing(slices.Clone(all)); len(got) != 3 || got[2] != all[200] {
		t.Errorf("%d missed something, want 3", len(got))
	}
}
