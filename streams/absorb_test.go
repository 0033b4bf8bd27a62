package streams

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// idle is a follower of a log that delivers nothing.
type idle struct {
	*follower
	at broker.Position
}

func (i idle) Begin(context.Context) error {
	i.Lock()
	defer i.Leave()
	i.Start(i.at, false)
	return nil
}

func (idle) End() {}

func (idle) Read(ctx context.Context) (func() follow.Found, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// alone returns a follower of a channel from a position on, for a sink, without a log.
func alone(t testing.TB, at broker.Position, sink broker.Sink) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	l := &Log{ctx: ctx, repairs: broker.NewShare(1), wake: follow.NewBell()}
	l.opt.MaxData = 100
	a := &appLog{}
	a.epoch.Store(&at.Epoch)
	var f *follower
	l.follow = follow.NewFeed(follow.Options[arrival]{
		Context: ctx, Go: running.Go, Shards: 1, Repairs: l.repairs, RepairTimeout: time.Minute,
		Connected: func() bool { return true }, Wake: l.trigger,
		Line: func(x *follow.Follower[arrival]) follow.Line[arrival] {
			f = &follower{Follower: x, log: l, app: a}
			return idle{f, at}
		},
	}, &l.stats)
	t.Cleanup(func() {
		cancel()
		l.follow.Close()
		running.Wait()
	})
	if _, err := l.follow.Attach(t.Context(), "app-1", "c", "c", sink); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWhatArrivedProvesThatNothingIsMissing: an audit may find a channel behind whose messages are still in
// flight, and by the time the log is read they may have been removed. The messages that arrived meanwhile
// continue what was delivered, so none is missing. Before, subscribers were told of a gap nevertheless.
func TestWhatArrivedProvesThatNothingIsMissing(t *testing.T) {
	at := time.Unix(1000, 0)
	where := func(offset, prev uint64) place {
		return place{offset: offset, prev: prev, time: at.Add(time.Duration(offset))}
	}
	next, later := arrival{where(2, 1), &nats.Msg{}, false}, arrival{where(3, 2), &nats.Msg{}, false}
	for _, c := range []struct {
		name string
		// held messages are there when the log is read; comes holds those that arrive during the repair.
		held, comes []arrival
		page        []stored
		got, gaps   int
	}{
		{"the next one is there", []arrival{next, later}, nil, []stored{{place: where(3, 0)}}, 2, 0},
		{"it comes", nil, []arrival{next, later}, []stored{{place: where(3, 0)}}, 2, 0},
		{"a later one is there", []arrival{later}, nil, []stored{{place: where(3, 0)}}, 1, 1},
		{"a later one comes", nil, []arrival{later}, []stored{{place: where(3, 0)}}, 1, 1},
		{"nothing comes", nil, nil, []stored{{place: where(3, 0)}}, 1, 1},
		{"there is none between them", nil, nil, []stored{{place: where(2, 0)}, {place: where(3, 0)}}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			sk := &sink{}
			f := alone(t, broker.Position{Epoch: "e", Offset: 1}, sk)
			f.Lock()
			f.track.advance(1, at.Add(1))
			f.repair(3)
			for _, m := range c.held {
				f.Hold(m, 1)
			}
			f.Unlock()
			look := func() bool {
				f.Lock()
				defer f.Leave()
				f.page = &page{c.page, 1, "e", false}
				return f.absorb() == follow.Complete
			}
			if !look() {
				f.Lock()
				for _, m := range c.comes {
					f.Hold(m, 1)
				}
				f.Unlock()
				awaitTrue(t, "the repair is over", look)
			}
			if got, gaps := sk.all(); len(got) != c.got || gaps != c.gaps {
				t.Errorf("%d publications and %d gaps, want %d and %d", len(got), gaps, c.got, c.gaps)
			}
		})
	}
}

// TestTheLeaderIsAskedWhetherSomethingIsMissing: replicas that are behind may show no sign that their leader
// has removed messages, both undelivered and delivered ones. Before, the next message was then delivered as
// if nothing had been before it.
func TestTheLeaderIsAskedWhetherSomethingIsMissing(t *testing.T) {
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps = []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 2}}
	l := open(t, opt)
	publish := func(channel string) {
		t.Helper()
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, channel := range []string{"cut", "whole", "next", "next", "cut", "cut", "cut", "whole"} {
		publish(channel)
	}
	for _, c := range []struct {
		channel   string
		at        uint64
		offset    uint64 // of the next message
		gaps, got int
	}{
		{"cut", 1, 6, 1, 1},
		{"whole", 2, 8, 0, 1},
		{"next", 3, 4, 0, 1},
	} {
		t.Run(c.channel, func(t *testing.T) {
			sk := &sink{}
			epoch := l.apps.Of("app-1").currentEpoch()
			f := alone(t, broker.Position{Epoch: epoch, Offset: c.at}, sk)
			f.log.reader, f.app.stream, f.subject = l.reader, StreamOf("app-1"), SubjectOf("app-1", c.channel)
			f.Lock()
			f.track.advance(c.at, time.Unix(1000, 0))
			f.repair(c.offset)
			f.Unlock()
			awaitTrue(t, "the repair is over", func() bool {
				over, err := f.Ask(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				f.Lock()
				defer f.Leave()
				return over() == follow.Complete
			})
			got, gaps := sk.all()
			if len(got) != c.got || gaps != c.gaps || got[0].Offset != c.offset {
				t.Errorf("%d publications and %d gaps, want %d from %d on and %d", len(got), gaps, c.got, c.offset, c.gaps)
			}
		})
	}
}

// TestReadingAPage: how a page of messages is judged, tested without a log.
func TestReadingAPage(t *testing.T) {
	at := time.Unix(1000, 0)
	message := func(offset, pending uint64) stored {
		return stored{place: place{offset: offset, pending: pending, time: at.Add(time.Duration(offset))}}
	}
	seen := func(offset uint64) tracker {
		return tracker{last: offset, seen: mark{offset: offset, time: at.Add(time.Duration(offset))}}
	}
	const origin = 4
	for _, c := range []struct {
		name      string
		track     tracker
		page      []stored
		target    uint64
		continues bool
		evicted   uint64
		brings    int
		found     follow.Found
		misses    bool
	}{
		{"it goes on", seen(5), []stored{message(5, 2), message(6, 1)}, 7, false, 0, 1, follow.Progress, false},
		{"as far as was asked", seen(5), []stored{message(5, 1), message(7, 0)}, 7, false, 0, 1, follow.Complete, false},
		{"beyond that", seen(5), []stored{message(5, 2), message(6, 1), message(9, 0)}, 7, false, 0, 2, follow.Complete, false},
		{"to the end", seen(5), []stored{message(5, 1), message(9, 0)}, toTheEnd, false, 0, 1, follow.Complete, false},
		{"there is more", seen(5), []stored{message(5, 2), message(9, 1)}, toTheEnd, false, 0, 1, follow.Progress, false},
		{"the end was reached before", seen(5), []stored{message(5, 0)}, toTheEnd, false, 0, 0, follow.Complete, false},
		{"a copy that is behind", seen(5), []stored{message(5, 0)}, 7, false, 0, 0, follow.Nothing, false},
		{"a copy that has nothing", seen(5), nil, toTheEnd, false, 0, 0, follow.Nothing, false},
		{"a channel that has nothing", tracker{}, nil, toTheEnd, false, 0, 0, follow.Complete, false},
		{"some were removed", seen(5), []stored{message(8, 1), message(9, 0)}, 9, false, 7, 2, follow.Complete, true},
		{"they are held", seen(5), []stored{message(8, 1), message(9, 0)}, 9, true, 0, 0, follow.Complete, true},
		{"more were removed than was asked for", seen(5), []stored{message(20, 3)}, 9, false, 19, 1, follow.Complete, true},
		{"it began where the channel had nothing", tracker{last: origin}, []stored{message(8, 0)}, 8, false, 0, 1, follow.Complete, false},
		{"behind a gap", tracker{last: 7, seen: mark{}}, []stored{message(9, 0)}, 9, false, 8, 1, follow.Complete, false},
		{"none can be between", seen(5), []stored{message(6, 1), message(7, 0)}, 7, false, 0, 2, follow.Complete, true},
		{"another in its place", seen(5), []stored{{place: place{offset: 5, pending: 1, time: at}}, message(6, 0)}, 6, false, 0, 1, follow.Complete, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.track.read(c.page, c.track.anchored(origin), c.target, c.continues)
			if r.evicted != c.evicted || len(r.messages) != c.brings || r.found != c.found {
				t.Errorf("evicted up to %d, brings %d, found %d; want %d, %d, %d", r.evicted, len(r.messages), r.found, c.evicted, c.brings, c.found)
			}
			if got := c.track.misses(c.page); got != c.misses {
				t.Errorf("misses: %t", got)
			}
		})
	}
}

// TestAnAnswerIsComparedWithWhatWasDeliveredBefore: an answer of the log that is older than what was
// delivered since the request proves nothing. Before, each audit held up a busy channel to ask the leader.
func TestAnAnswerIsComparedWithWhatWasDeliveredBefore(t *testing.T) {
	f := alone(t, broker.Position{Epoch: "e", Offset: 9}, &sink{})
	f.Lock()
	f.track.advance(9, time.Unix(1000, 0))
	f.Unlock()
	f.catchUp(5, 5, 0)
	f.Lock()
	defer f.Unlock()
	if !f.Following() {
		t.Error("the channel is held up")
	}
}

// TestWhatCameSinceTheLookIsNotRepeated: a restored log goes on before any gateway notices. Before, messages
// stored between the look at it and the new epoch were delivered when they came, and then again after the
// gap.
func TestWhatCameSinceTheLookIsNotRepeated(t *testing.T) {
	look := time.Unix(1000, 0)
	for _, c := range []struct {
		name   string
		offset uint64
		at     time.Time
		begin  uint64
	}{
		{"delivered after the look", 12, look.Add(time.Millisecond), 12},
		{"lost", 12, look.Add(-time.Millisecond), 10},
		{"below the end of the log", 9, look.Add(time.Millisecond), 10},
		{"nothing was delivered", 0, time.Time{}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			sk := &sink{}
			f := alone(t, broker.Position{Epoch: "old", Offset: c.offset}, sk)
			f.Lock()
			if c.offset > 0 {
				f.track.advance(c.offset, c.at)
			}
			f.Unlock()
			f.newEpoch(broker.Position{Epoch: "new", Offset: 10}, look)
			awaitTrue(t, "the gap is told", func() bool { _, gaps := sk.all(); return gaps > 0 })
			f.Lock()
			here := f.At()
			f.Unlock()
			if want := (broker.Position{Epoch: "new", Offset: c.begin}); len(sk.gaps) != 1 || sk.gaps[0].Resume != want || here != want {
				t.Errorf("gaps %+v, followed from %+v, want %+v", sk.gaps, here, want)
			}
		})
	}
}
