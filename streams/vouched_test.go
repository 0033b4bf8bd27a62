package streams

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestWeeks01AnEventOnItsWayWhileAStreamIsEdited: an event is stored while a stream is edited, and its
// acknowledgement comes when the settings were put back and the earlier acknowledged events were looked up. A
// look-up from before the edit must not vouch for it, nor an event after it. Before, the event was
// acknowledged and lost in silence.
func TestWeeks01AnEventOnItsWayWhileAStreamIsEdited(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	a, op := l.apps.Of("app-1"), newOperator(t, l)
	for _, looksUp := range []bool{true, false} {
		t.Run(fmt.Sprintf("it is looked up itself %v", looksUp), func(t *testing.T) {
			p := &parcel{}
			if err := l.pack(a, broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(`"late"`)}}, p); err != nil {
				t.Fatal(err)
			}
			upset := a.upset.Load()
			// The settings are not put back as long as the test holds the turn.
			a.turn <- struct{}{}
			p.begin(l, a)
			op.edit(a.stream, func(c *jetstream.StreamConfig) {
				c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "away.>"}
			})
			got, err := l.send.ask(t.Context(), p.m, p.size, a.stream)
			if err != nil {
				t.Fatal(err)
			}
			awaitTrue(t, "the edit was heard of", func() bool { return a.upset.Load() > upset })
			<-a.turn
			awaitTrue(t, "the settings are put back", func() bool { return op.config(a.stream).SubjectTransform == nil })
			upset = a.upset.Load()
			awaitTrue(t, "all is quiet", func() bool {
				if now := a.upset.Load(); now != upset {
					upset = now
					return false
				}
				return len(a.look) == 0 && len(a.wake) == 0
			})
			p.note(got.offset)
			a.sure.mu.Lock()
			a.sure.until = time.Now().Add(time.Hour) // as if a read had taken long
			a.sure.mu.Unlock()
			if looksUp {
				if where := l.assured(t.Context(), a, p); where != elsewhere {
					t.Errorf("it is %d, want %d", where, elsewhere)
				}
				return
			}
			// As if the log had not been readable: the event is kept, and one after it.
			if !a.sure.keep(p) {
				t.Fatal("there is no room")
			}
			restored := l.Upkeep().Restored
			publishText(t, l, "c", "next")
			awaitTrue(t, "it is stored again", func() bool { return l.Upkeep().Restored > restored })
		})
	}
}

// TestWayIn04WhatIsKeptIsACopy: an event that another one vouches for is kept without the other events of its
// batch, and without the attempt that stored it, which would be taken for the next one.
func TestWayIn04WhatIsKeptIsACopy(t *testing.T) {
	for name, add := range map[string]func(*assurance, *parcel) bool{
		"vouched":          func(s *assurance, p *parcel) bool { return s.vouched(p, 0) },
		"not looked up":    func(s *assurance, p *parcel) bool { return s.keep(p) },
		"vouched for once": func(s *assurance, p *parcel) bool { return s.vouched(p, 0) && !s.vouched(p, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &assurance{begun: make(chan struct{}, 1), until: time.Now().Add(time.Hour)}
			// By its own function, so that nothing else holds the batch.
			batch := func() weak.Pointer[[1000]parcel] {
				all := new([1000]parcel)
				p := &all[7]
				p.m, p.size, p.offset = &nats.Msg{Subject: "ch.a.c"}, 100, 9
				p.first, p.astray, p.until = &letter{ack: ack{offset: 9}}, true, time.Now()
				if !add(s, p) {
					t.Fatal("it is not kept")
				}
				return weak.Make(all)
			}()
			if len(s.recent) != 1 || s.bytes != 100 {
				t.Fatalf("%d with %d bytes are kept", len(s.recent), s.bytes)
			}
			if p := s.recent[0]; p.first != nil || p.astray || !p.until.IsZero() || p.offset != 9 || p.m.Subject != "ch.a.c" {
				t.Errorf("kept as %+v", *p)
			}
			awaitTrue(t, "the batch is gone", func() bool {
				runtime.GC()
				return batch.Value() == nil
			})
			runtime.KeepAlive(s)
		})
	}
}

// TestWayIn04AVouchedBatchIsStoredAgain: the events of a batch that others vouched for are stored again, each
// once, when they turn out to be missing from their channels.
func TestWayIn04AVouchedBatchIsStoredAgain(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	a, op := l.apps.Of("app-1"), newOperator(t, l)
	upset := a.upset.Load()
	a.turn <- struct{}{} // the settings are not put back as long as the test holds the turn
	op.edit(a.stream, func(c *jetstream.StreamConfig) {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "away.>"}
	})
	awaitTrue(t, "the edit was heard of", func() bool { return a.upset.Load() > upset })
	a.sure.mu.Lock()
	a.sure.until = time.Now().Add(time.Hour)
	a.sure.mu.Unlock()
	var events []broker.Outgoing
	for i := range 10 {
		events = append(events, broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Appendf(nil, "%d", i)}})
	}
	if _, err := l.Publish(t.Context(), "app-1", events...); err != nil {
		t.Fatal(err)
	}
	<-a.turn
	var got []string
	awaitTrue(t, "they are stored again", func() bool {
		page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100})
		if err != nil {
			return false
		}
		got = nil
		for _, p := range page.Publications {
			got = append(got, string(p.Data))
		}
		return len(got) >= 10
	})
	slices.Sort(got)
	if want := strings.Fields("0 1 2 3 4 5 6 7 8 9"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
