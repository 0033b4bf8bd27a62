package turns

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// doorRig has a door at which nobody gets in until a step is told how late the process is.
type doorRig struct {
	t    *testing.T
	door *Door
	step chan time.Duration
	in   chan netip.Addr
}

func newDoorRig(t *testing.T) *doorRig {
	r := &doorRig{t: t, door: NewDoor(&Gauge{}, 1000), step: make(chan time.Duration), in: make(chan netip.Addr, 100)}
	r.door.late = func() time.Duration { return <-r.step }
	t.Cleanup(func() {
		close(r.step)
		r.door.Open()
	})
	return r
}

// give lets n in at the next step, and nobody before, however long a test lasts.
func (r *doorRig) give(n float64) {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	r.door.flow.fill(time.Now())
	r.door.flow.has, r.door.flow.last = n, time.Now().Add(time.Hour)
}

// come adds a waiting client.
func (r *doorRig) come(ctx context.Context, client netip.Addr) (left chan error) {
	r.t.Helper()
	left = make(chan error, 1)
	before := r.door.Size()
	go func() {
		err := r.door.Enter(ctx, client)
		if err == nil {
			r.in <- client
		}
		left <- err
	}()
	r.await("somebody waits", func() bool { return r.door.Size() == before+1 })
	return left
}

func (r *doorRig) await(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatal("not so: ", what)
		}
		<-time.After(time.Millisecond)
	}
}

// TestTime04NewcomersWaitForWhatIsLive: a single client is let in at once. Clients that come faster than
// there is time for wait, and addresses take turns.
func TestTime04NewcomersWaitForWhatIsLive(t *testing.T) {
	r := newDoorRig(t)
	if err := r.door.Enter(t.Context(), at(1)); err != nil {
		t.Fatal(err)
	}
	r.give(0)
	for _, who := range []int{1, 1, 1, 2, 1, 3} {
		r.come(t.Context(), at(who))
	}
	r.step <- 0
	if len(r.in) > 0 {
		t.Fatal("somebody got in for whom there was no time")
	}
	var got []netip.Addr
	for range 6 {
		r.give(1)
		r.step <- 0
		got = append(got, <-r.in)
	}
	if want := []netip.Addr{at(1), at(2), at(3), at(1), at(1), at(1)}; !slices.Equal(got, want) {
		t.Errorf("%v came in, want %v", got, want)
	}
}

// TestTime04WhoGoesWaitsNoLonger: a client that leaves uses up no turn.
func TestTime04WhoGoesWaitsNoLonger(t *testing.T) {
	r := newDoorRig(t)
	r.give(0)
	ctx, cancel := context.WithCancel(t.Context())
	gone := r.come(ctx, at(1))
	r.come(t.Context(), at(2))
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := r.door.Size(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	r.give(1)
	r.step <- 0
	if got := <-r.in; got != at(2) {
		t.Error(got)
	}
}

// TestNobodyIsForgottenAtTheDoor: of many clients in waves some leave. Each that stays is let in once, none
// that has left is called, and nothing is left of any.
func TestNobodyIsForgottenAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDoor(&Gauge{}, 50)
		d.late = func() time.Duration { time.Sleep(10 * time.Millisecond); return 0 }
		rnd := rand.New(rand.NewPCG(6, 6))
		type one struct {
			queued *Queued
			calls  int
			left   bool
		}
		waited, gone := 0, 0
		for wave := range 8 {
			var all []*one
			for range 100 {
				w := &one{}
				if w.queued = d.Queue(at(1+rnd.IntN(6)), func() { w.calls++ }); w.queued == nil {
					continue
				}
				all = append(all, w)
				if rnd.IntN(3) == 0 {
					time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
				}
				leaves := all[rnd.IntN(len(all))]
				if leaves.left || rnd.IntN(2) == 0 {
					continue
				}
				leaves.left = leaves.queued.Leave()
				if leaves.left != (leaves.calls == 0) {
					t.Fatalf("wave %d: who leaves was called %d times, and has left: %t", wave, leaves.calls, leaves.left)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for i, w := range all {
				if w.calls != 1 && !w.left || w.calls != 0 && w.left {
					t.Fatalf("wave %d: number %d is called %d times, has left: %t", wave, i, w.calls, w.left)
				}
				if w.left {
					gone++
				}
			}
			waited += len(all)
			if d.Size() != 0 || len(d.crowds) != 0 || len(d.turns) != 0 || d.serving {
				t.Fatalf("wave %d: %d wait of %d clients, %d turns, serving: %t", wave, d.Size(), len(d.crowds), len(d.turns), d.serving)
			}
		}
		if waited < 100 || gone < 50 {
			t.Fatalf("only %d had to wait, of whom %d went", waited, gone)
		}
	})
}

// TestTime04AnOpenDoorKeepsNobody: a server that stops lets all waiting clients in, so that they can be told.
func TestTime04AnOpenDoorKeepsNobody(t *testing.T) {
	r := newDoorRig(t)
	r.give(0)
	for range 3 {
		r.come(t.Context(), at(1))
	}
	done, stepping := make(chan struct{}), sync.WaitGroup{}
	stepping.Go(func() {
		for { // a step may end before the door is open
			select {
			case r.step <- time.Hour:
			case <-done:
				return
			}
		}
	})
	r.door.Open()
	close(done)
	stepping.Wait()
	if n := r.door.Size(); n != 0 {
		t.Errorf("%d wait at an open door", n)
	}
	if err := r.door.Enter(t.Context(), at(1)); err != nil {
		t.Error(err)
	}
}

// TestTime04TheFlow: the flow is fast while nothing is late, slow while something is, and never stops.
func TestTime04TheFlow(t *testing.T) {
	now := time.Unix(1000, 0)
	f := flow{least: 1000}
	if !f.take(now) {
		t.Fatal("the first one waits")
	}
	second := func(late time.Duration) (n int) {
		for range 1000 {
			now = now.Add(flowStep)
			f.judge(late)
			for f.take(now) {
				n++
			}
		}
		return n
	}
	second(0)
	if n := second(0); n < 7900 || n > 8100 {
		t.Errorf("%d come in a second in which nothing is late, want 8 times 1000", n)
	}
	second(flowLate + 1)
	if n := second(flowLate + 1); n < 990 || n > 1010 {
		t.Errorf("%d come in a second in which all is late, want 1000", n)
	}
	now = now.Add(time.Hour)
	burst := 0
	for f.take(now) {
		burst++
	}
	if burst > 3 {
		t.Errorf("%d come at once after an hour", burst)
	}
}

// TestTime04TheFlowOfLongSteps: on a busy machine a step takes long, and the least number is still let in.
func TestTime04TheFlowOfLongSteps(t *testing.T) {
	for _, step := range []time.Duration{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond} {
		now := time.Unix(1000, 0)
		f := flow{least: 1000}
		f.take(now)
		n := 0
		for end := now.Add(2 * time.Second); now.Before(end); {
			now = now.Add(step)
			f.judge(step - flowStep)
			for f.take(now) {
				n++
			}
		}
		if n < 1800 {
			t.Errorf("steps of %v let %d in within two seconds, want 2000 at least", step, n)
		}
	}
}
