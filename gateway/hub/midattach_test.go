package hub

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// reset is an attachment whose channel is reset when its position is first read.
type reset struct {
	broker.Attachment
	sink *Channel
	once sync.Once
	done chan broker.Position
}

func (a *reset) Position() broker.Position {
	at := a.Attachment.Position()
	a.once.Do(func() {
		told := make(chan struct{})
		go func() {
			defer close(told)
			next := broker.Position{Epoch: at.Epoch + "-x", Offset: at.Offset}
			a.sink.Forget(next)
			a.done <- next
		}()
		select {
		case <-told:
		case <-time.After(100 * time.Millisecond): // The channel does not let the reset in between.
		}
	})
	return at
}

// TestTime01AResetWhileAttaching: the channel has the epoch that the feed named last, even during the attach.
func TestTime01AResetWhileAttaching(t *testing.T) {
	f := &midway{}
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		f.Feed, o.Feed = o.Feed, f
		o.DeltaEnabled, a.Delta = false, app.Delta{}
	})
	r.publish("orders", "first", `1`)
	done := make(chan broker.Position, 1)
	then := func(at broker.Attachment, s broker.Sink) broker.Attachment {
		return &reset{Attachment: at, sink: s.(*Channel), done: done}
	}
	f.then.Store(&then)
	p, _ := r.second()
	p.join("orders", "")
	now := <-done
	ch := r.channel("orders")
	ch.log.Lock()
	defer ch.log.Unlock()
	if ch.log.epoch != now.Epoch {
		t.Errorf("the channel is in %q, and was told of %q", ch.log.epoch, now.Epoch)
	}
}

// stuck is a history whose reads wait.
type stuck struct {
	broker.History
	asked chan struct{}
	let   chan struct{}
}

func (s *stuck) After(ctx context.Context, app, channel string, p broker.Position, n int) (*broker.Page, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-s.let
	return s.History.After(ctx, app, channel, p, n)
}

// TestTime02AGapDuringAResume: a client whose resume fails because of a gap gets a snapshot instead, and is
// live after it.
func TestTime02AGapDuringAResume(t *testing.T) {
	s := &stuck{asked: make(chan struct{}, 1), let: make(chan struct{})}
	r := snapshotRig(t, memory.Options{}, func(o *Options, a *appT) {
		s.History, o.History = o.History, s
		o.DeltaEnabled, a.Delta = false, app.Delta{}
	})
	at := r.publishMany("ticker-1", 0, 60)
	p, _ := r.second()
	p.join("ticker-1", `,"resumes":true`)
	p.from("ticker-1", at.Epoch, at.Offset-50, "")
	<-s.asked
	p.alive() // The request itself has been handled.
	ch := r.channel("ticker-1")
	ch.Gap(broker.Gap{After: at.Position, Resume: at.Position, Reason: broker.GapUnavailable})
	close(s.let)
	var said []string
	for len(said) < 3 {
		if m := p.next(); strings.HasPrefix(m.Event, "sockudo") {
			said = append(said, strings.TrimPrefix(m.Event, "sockudo:"))
		}
	}
	if got := strings.Join(said, " "); got != "resume_failed resume_success snapshot_complete" {
		t.Errorf("told %s", got)
	}
	r.publish("ticker-1", "told", `1`)
	p.want("told")
}
