package brokertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// testPatience cancels callers while they attach a channel that others attach too. A cancelled caller gets
// the error of its context and leaves nothing behind; the others are not affected.
func testPatience(t *testing.T, b *backend) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	app, channels := b.Apps[0], 300
	if testing.Short() {
		channels = 60
	}
	before := b.attached()
	patient := make([]broker.Attachment, channels)
	sinks, names := make([]*recorder, channels), make([]string, channels)
	for i := range channels {
		sinks[i], names[i] = newRecorder(), b.fresh()
		patient[i] = attachBeside(t, b, rnd, names[i], sinks[i])
	}
	broken := 0
	for i, at := range patient {
		if at == nil {
			broken++
			continue
		}
		sinks[i].await(t, publish(t, b.Log, app, names[i], "x")[0].Offset)
	}
	if broken > 0 {
		t.Errorf("%d of %d patient callers were told that attaching failed", broken, channels)
	}
	if b.Probe.Attached == nil {
		return
	}
	eventually(t, "only the patient ones follow their channels", func() bool { return b.attached() == before+channels-broken })
	for _, at := range patient {
		if at != nil {
			at.Detach()
		}
	}
	eventually(t, "nobody follows a channel", func() bool { return b.attached() == before })
}

// attachBeside attaches a channel while another caller cancels attaching it. It returns nil if that fails.
func attachBeside(t *testing.T, b *backend, rnd *rand.Rand, channel string, sink broker.Sink) broker.Attachment {
	t.Helper()
	app := b.Apps[0]
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var both sync.WaitGroup
	started := make(chan struct{})
	both.Go(func() {
		close(started)
		at, err := b.Log.Attach(ctx, app, channel, newRecorder())
		if err == nil {
			at.Detach()
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up was told %v, want the error of his context", err)
		}
	})
	<-started
	for range rnd.IntN(4) {
		runtime.Gosched()
	}
	var at broker.Attachment
	both.Go(func() {
		var err error
		if at, err = b.Log.Attach(t.Context(), app, channel, sink); err != nil {
			at = nil
		}
	})
	for range rnd.IntN(8) {
		runtime.Gosched()
	}
	giveUp()
	both.Wait()
	return at
}

// attached returns the number of followed channels, 0 if the backend does not report it.
func (b *backend) attached() int {
	if b.Probe.Attached == nil {
		return 0
	}
	return b.Probe.Attached()
}

// testCloseWhileAttaching closes the log during many calls of Attach. Each caller gets ErrClosed, none is
// kept waiting, and no channel is followed afterwards.
func testCloseWhileAttaching(t *testing.T, b *backend) {
	const callers = 8
	errs := make(chan error, callers)
	progress := make(chan struct{}, callers)
	for range callers {
		go func() {
			for first := true; ; first = false {
				_, err := b.Log.Attach(t.Context(), b.Apps[0], b.fresh(), newRecorder())
				if err != nil {
					errs <- err
					return
				}
				if first {
					progress <- struct{}{}
				}
			}
		}()
	}
	for range callers {
		select {
		case <-progress:
		case err := <-errs:
			t.Fatalf("attaching before Close: %v", err)
		case <-time.After(Patience):
			t.Fatal("attaching does not come to an end")
		}
	}
	if err := b.Log.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range callers {
		select {
		case err := <-errs:
			if !errors.Is(err, broker.ErrClosed) {
				t.Errorf("attaching during Close: got %v, want ErrClosed", err)
			}
		case <-time.After(Patience):
			t.Fatal("attaching goes on after Close")
		}
	}
	if n := b.attached(); n != 0 {
		t.Errorf("%d channels are followed after Close", n)
	}
}
