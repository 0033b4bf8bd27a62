package streams

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestWeeks01AnEventOnItsWayWhileAStreamIsEdited: an event is stored while a stream is edited, and
// its acknowledgement comes when the settings are put back and those that were acknowledged before
// have been looked at. What was looked up before the edit must not vouch for it, nor what comes
// behind it: it was acknowledged, and lost in silence.
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
			// Nobody puts the settings back as long as this has the turn.
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
			a.sure.until = time.Now().Add(time.Hour) // as by a reading that took long
			a.sure.mu.Unlock()
			if looksUp {
				if where := l.assured(t.Context(), a, p); where != elsewhere {
					t.Errorf("it is %d, want %d", where, elsewhere)
				}
				return
			}
			// As if the log had not been readable: it is kept, with one behind it.
			if !a.sure.keep(p) {
				t.Fatal("there is no room")
			}
			restored := l.Upkeep().Restored
			publishText(t, l, "c", "next")
			awaitTrue(t, "it is stored again", func() bool { return l.Upkeep().Restored > restored })
		})
	}
}
