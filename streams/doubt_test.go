package streams

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// TestWeeks01WhatWasPurgedBeforeItCame: a missed event that was purged is reported as a gap, although the
// next event truthfully says that the channel had nothing before it. If nothing can have been missed, no gap
// is reported.
func TestWeeks01WhatWasPurgedBeforeItCame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lost  int // events that did not come before the purge
		upset bool
		gaps  int
	}{
		{"nothing happened", 0, false, 0},
		{"an event was missed", 1, true, 1},
		{"several were missed", 5, true, 1},
		{"nothing came while it might have been missed", 0, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lose atomic.Bool
			var lost atomic.Int64
			opt := options(node(t, t.TempDir()))
			opt.AuditInterval = time.Hour
			opt.Disturb = func(m *nats.Msg, deliver func(*nats.Msg)) {
				if lose.Load() {
					lost.Add(1)
					return
				}
				deliver(m)
			}
			l := open(t, opt)
			a, sk := l.apps.Of("app-1"), &sink{}
			if _, err := l.Attach(t.Context(), "app-1", "c", sk); err != nil {
				t.Fatal(err)
			}
			publish := func(data string) uint64 {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(data)}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Offset
			}
			arrived := func(n int) {
				t.Helper()
				awaitTrue(t, "events have come", func() bool { all, _ := sk.all(); return len(all) == n })
			}
			publish("first")
			arrived(1)
			lose.Store(true)
			var missed uint64
			for range c.lost {
				missed = publish("missed")
			}
			awaitTrue(t, "they are on no way any more", func() bool { return lost.Load() == int64(c.lost) })
			lose.Store(false)
			if c.upset {
				a.disturbed()
			}
			s, err := newOperator(t, l).js.Stream(t.Context(), a.stream)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(SubjectOf("app-1", "c"))); err != nil {
				t.Fatal(err)
			}
			publish("next")
			arrived(2)
			_, gaps := sk.all()
			if gaps != c.gaps {
				t.Fatalf("%d gaps were told, want %d", gaps, c.gaps)
			}
			if c.gaps > 0 && (sk.gaps[0].After.Offset >= missed || sk.gaps[0].Resume.Offset < missed) {
				t.Errorf("told was %+v, missed up to %d", sk.gaps[0], missed)
			}
		})
	}
}

// TestWeeks01WhatWasRemovedBeforeAnythingCame: a channel without a delivered event has no message whose
// absence would prove that others are missing. Before, events that were removed while no live messages came
// were not reported to its subscribers.
func TestWeeks01WhatWasRemovedBeforeAnythingCame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		purge, upset bool
		leader       bool // is asked instead of any replica
		gaps         int
	}{
		{"nothing was removed", false, true, false, 0},
		{"some were removed", true, true, false, 1},
		{"some were removed, says the leader", true, true, true, 1},
		{"nothing was removed, says the leader", false, true, true, 0},
		{"nothing can have been missed", true, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, options(node(t, t.TempDir())))
			publish := func(channel string) uint64 {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Offset
			}
			a, sk := l.apps.Of("app-1"), &sink{}
			f := alone(t, broker.Position{Epoch: a.currentEpoch(), Offset: publish("other")}, sk)
			f.log, f.app, f.subject = l, a, SubjectOf("app-1", "c")
			f.origin, f.sound = f.At().Offset, a.upset.Load()
			f.track.skip(f.origin)
			missed := publish("c")
			next := publish("c")
			if c.upset {
				a.disturbed()
			}
			if c.purge {
				s, err := newOperator(t, l).js.Stream(t.Context(), a.stream)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(next)); err != nil {
					t.Fatal(err)
				}
			}
			f.Lock()
			f.sound = min(f.sound, a.upset.Load()) // the log itself may have noticed something
			if !c.upset {
				f.sound = a.upset.Load()
			}
			f.repair(next)
			f.Unlock()
			look := f.Read
			if c.leader {
				look = f.Ask
			}
			awaitTrue(t, "the repair is over", func() bool {
				over, err := look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				f.Lock()
				defer f.Leave()
				return over() == follow.Complete
			})
			got, gaps := sk.all()
			if gaps != c.gaps {
				t.Fatalf("%d gaps were told, want %d", gaps, c.gaps)
			}
			if c.gaps > 0 && (sk.gaps[0].After.Offset >= missed || sk.gaps[0].Resume.Offset < missed) {
				t.Errorf("told was %+v, missed was %d", sk.gaps[0], missed)
			}
			if len(got) == 0 || got[len(got)-1].Offset != next {
				t.Errorf("given was %+v, want up to %d", got, next)
			}
		})
	}
}

// TestWeeks01ACopyThatContradictsItsLeader: replicas of a stream whose limits were edited may have other
// messages at the same offsets. Before, the answer of such a replica was delivered, a second time at another
// offset, although the leader had just been asked and had what was delivered before.
func TestWeeks01ACopyThatContradictsItsLeader(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	var offset uint64
	for range 2 {
		got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}})
		if err != nil {
			t.Fatal(err)
		}
		offset = got[0].Offset
	}
	a, sk := l.apps.Of("app-1"), &sink{}
	m, _, err := l.reader.leaderGet(t.Context(), a.stream, getRequest{Seq: offset})
	if err != nil {
		t.Fatal(err)
	}
	f := alone(t, broker.Position{Epoch: a.currentEpoch(), Offset: offset}, sk)
	f.log, f.app, f.subject = l, a, m.subject
	f.Lock()
	f.track.advance(offset, m.time)
	f.repair(toTheEnd)
	other := m
	other.time = m.time.Add(-time.Millisecond)
	same := m
	same.offset++
	f.page = &page{messages: []stored{other, same}, after: offset, epoch: a.currentEpoch()}
	f.Unlock()
	over, err := f.Inquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Lock()
	found := over()
	f.Leave()
	if got, gaps := sk.all(); found != follow.Nothing || len(got) != 0 || gaps != 0 {
		t.Errorf("found %d, with %d publications and %d gaps", found, len(got), gaps)
	}
}

// TestWeeks01BehindANewLifeTheLeaderSpeaksFirst: after a new epoch the leader is asked first. Before, a
// replica with other offsets than the leader was believed there, which began yet another epoch.
func TestWeeks01BehindANewLifeTheLeaderSpeaksFirst(t *testing.T) {
	for _, c := range []struct {
		copies int64
		found  follow.Found
		given  int
	}{{1, follow.Complete, 2}, {3, follow.Turned, 1}} {
		l := open(t, options(node(t, t.TempDir())))
		a, sk := l.apps.Of("app-1"), &sink{}
		for range 2 {
			if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
				t.Fatal(err)
			}
		}
		f := alone(t, broker.Position{Epoch: a.currentEpoch()}, sk)
		own := &appLog{stream: a.stream, opt: a.opt}
		own.epoch.Store(a.epoch.Load())
		own.copies.Store(c.copies)
		f.log, f.app, f.subject = l, own, SubjectOf("app-1", "c")
		f.Lock()
		f.repair(toTheEnd)
		f.Unlock()
		over, err := f.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.Lock()
		found := over()
		f.Leave()
		if got, gaps := sk.all(); found != c.found || len(got) != c.given || gaps != 0 {
			t.Errorf("of %d copies: found %d, with %d publications and %d gaps", c.copies, found, len(got), gaps)
		}
	}
}

// TestWhatWasHeldProvesNothingAfterwards: live messages may have been missed since the repair began. Then a
// held message that says that nothing came before it proves nothing.
func TestWhatWasHeldProvesNothingAfterwards(t *testing.T) {
	f := alone(t, broker.Position{Epoch: "e", Offset: 10}, &sink{})
	f.Lock()
	defer f.Unlock()
	f.track.advance(10, time.Unix(1000, 0))
	f.repair(20)
	f.Hold(arrival{place: place{offset: 20}, msg: &nats.Msg{}}, 0)
	if !f.continues(10) {
		t.Error("nothing can have been missed")
	}
	f.app.disturbed()
	if f.continues(10) {
		t.Error("something may have been missed")
	}
}

func TestAbsence(t *testing.T) {
	now := time.Unix(100_000, 0)
	seen := mark{offset: 10, time: now.Add(-time.Minute)}
	for _, c := range []struct {
		name        string
		first, last uint64
		calm        uint64
		seen        mark
		purged      bool
		next        uint64
	}{
		{"nothing came since", 21, 20, 20, seen, false, 0},
		{"what came since is gone as well", 31, 30, 20, seen, true, 0},
		{"some of what came since is gone", 25, 30, 20, seen, true, 0},
		{"all of it is there, and what was seen is not", 1, 30, 20, seen, true, 0},
		{"what was seen was evicted by bytes", 15, 30, 20, seen, false, 0},
		{"what was seen was too old", 1, 30, 20, mark{offset: 10, time: now.Add(-2 * time.Hour)}, false, 0},
		{"nothing was ever seen", 1, 30, 20, mark{}, false, 0},
		{"nothing was ever seen, and what came since is gone", 31, 30, 20, mark{}, true, 0},
		{"what came is the next one, and the first", 3, 3, 0, mark{}, false, 1},
		{"what came is the next one", 31, 30, 20, seen, false, 21},
		{"what came is not the next one", 31, 30, 20, seen, true, 22},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := &jetstream.StreamInfo{TimeStamp: now, Config: jetstream.StreamConfig{MaxAge: time.Hour}}
			info.State.FirstSeq, info.State.LastSeq = c.first, c.last
			if got := (absence{seen: c.seen, at: c.seen.offset, next: c.next}).purged(info, c.calm); got != c.purged {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestARepairEndsWhereTheChannelWasPurged: one held message says that nothing came before it, and an earlier
// one that something did. Before, the repair took the first for a proof and began again because of the
// second, for ever.
func TestARepairEndsWhereTheChannelWasPurged(t *testing.T) {
	f := alone(t, broker.Position{Epoch: "e", Offset: 10}, &sink{})
	f.Lock()
	defer f.Unlock()
	f.track.advance(10, time.Unix(1000, 0))
	hold := func(offset, prev uint64) {
		f.Hold(arrival{place: place{offset: offset, prev: prev}, msg: &nats.Msg{}}, 0)
	}
	hold(60, 50)
	hold(70, 0)
	if f.continues(10) {
		t.Error("the second is taken for a proof")
	}
}
