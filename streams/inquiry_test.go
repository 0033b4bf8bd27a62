package streams

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestWeeks01ACopyThatIsBehindRemovedNothing: live messages may have been missed, and a replica lacks the
// last delivered message. Before, that was taken for a purge when other channels had gone on: subscribers
// were told of a gap and sent away, though the log had everything.
func TestWeeks01ACopyThatIsBehindRemovedNothing(t *testing.T) {
	for _, c := range []struct {
		name         string
		upset, purge bool
		// missed is a live event that was lost, next one that came.
		missed, next bool
		gaps, got    int
	}{
		{"the log has all", true, false, false, false, 0, 1},
		{"nothing can have been missed", false, false, false, false, 0, 1},
		{"an event was missed, and the log has it", true, false, true, false, 0, 2},
		{"the next one has come", true, false, false, true, 0, 2},
		{"what was delivered was purged", true, true, false, false, 1, 1},
		{"it was purged when the next one had come", true, true, false, true, 0, 2},
		{"it was purged with one that did not come", true, true, true, false, 1, 1},
		{"it was purged with one that came and one that did not", true, true, true, true, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := options(node(t, t.TempDir()))
			opt.AuditInterval = time.Hour
			var lose atomic.Bool
			lost := make(chan *nats.Msg, 10)
			opt.Disturb = func(m *nats.Msg, deliver func(*nats.Msg)) {
				if !lose.Load() {
					deliver(m)
				} else if strings.HasSuffix(m.Subject, ".c") {
					lost <- m
				}
			}
			l := open(t, opt)
			a, sk := l.apps.Of("app-1"), &sink{}
			if _, err := l.Attach(t.Context(), "app-1", "c", sk); err != nil {
				t.Fatal(err)
			}
			publish := func(channel string) uint64 {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Offset
			}
			publish("other") // makes the stream reach back beyond the channel
			seen := publish("c")
			awaitTrue(t, "it has come", func() bool { got, _ := sk.all(); return len(got) == 1 })
			f := l.followers(a)[0]
			upset := a.upset.Load()
			f.Lock()
			f.sound = upset // the log itself may have noticed something
			f.Unlock()
			lose.Store(true)
			publish("other")
			var held *nats.Msg
			if c.missed {
				publish("c")
				<-lost
			}
			if c.next {
				publish("c")
				held = <-lost
			}
			if c.purge {
				s, err := newOperator(t, l).js.Stream(t.Context(), a.stream)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(f.subject)); err != nil {
					t.Fatal(err)
				}
				publish("other")
			}
			lose.Store(false)
			if c.upset {
				a.disturbed()
			}
			if held == nil {
				f.catchUp(seen-1, seen, a.upset.Load())
			} else {
				p, err := placeOf(held, a.stream, f.subject)
				if err != nil {
					t.Fatal(err)
				}
				f.Lock()
				f.inquire(tail)
				f.Hold(arrival{p, held, false}, held.Size())
				f.Unlock()
			}
			awaitTrue(t, "the channel is followed again", func() bool {
				f.Lock()
				defer f.Unlock()
				return f.Following()
			})
			if c.missed && !c.purge {
				f.catchUp(seen+2, seen, a.upset.Load()) // as another replica has it
			}
			awaitTrue(t, "all has come", func() bool { got, _ := sk.all(); return len(got) >= c.got })
			if _, gaps := sk.all(); gaps != c.gaps {
				t.Errorf("%d gaps were told, want %d: %+v", gaps, c.gaps, sk.gaps)
			}
			f.Lock()
			defer f.Unlock()
			if !c.purge && f.track.seen.offset == 0 {
				t.Error("what was delivered last is forgotten, which would have shown that the log loses it")
			}
		})
	}
}
