package hub

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/past"
)

// TestTime01WhoGoesOnSubscribing: a client that goes on sending requests gets the live events of its
// channels. Each subscription has its own limit for waiting for a resume.
func TestTime01WhoGoesOnSubscribing(t *testing.T) {
	for name, more := range map[string][][2]string{
		"to further channels":   {subscribing("b", ""), {"unsubscribe", `{"channel":"b"}`}},
		"with rewinds":          {subscribing("b", `,"rewind":1`), {"unsubscribe", `{"channel":"b"}`}},
		"to one that rewinds":   {subscribing("b", `,"rewind":1`)},
		"to what is refused":    {subscribing("#", "")},
		"and says other things": {{"ping", `{}`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := timeRig(t, memory.Options{}, nil)
			p, _ := r.second()
			p.says("sockudo", subscribing("a", ""))
			p.hears("success")
			r.publish("a", "tick", "live")
			for heard, rounds := false, 0; !heard; rounds++ {
				if rounds == 200 {
					t.Fatal("what is live never came")
				}
				p.says("sockudo", append(more, [2]string{"ping", `{}`})...)
				for said := ""; said != "pong"; {
					said = p.next().label()
					heard = heard || said == "live"
				}
				<-time.After(5 * time.Millisecond) // a pause in which the client sends nothing
			}
		})
	}
}

// TestTime01ARequestThatTakesLong: while a request waits for its turn, a resume behind it is not yet known.
// The subscription waits for the resume as long.
func TestTime01ARequestThatTakesLong(t *testing.T) {
	asked, turn := make(chan struct{}), make(chan struct{})
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) {
		o.Turn = func(context.Context, netip.Addr) error {
			select {
			case asked <- struct{}{}:
				<-turn
			case <-turn: // once turn is closed
			}
			return nil
		}
	})
	at := r.publish("a", "tick", "1")
	r.publish("a", "tick", "2")
	p, id := r.second()
	p.says("sockudo", subscribing("a", ""), subscribing("b", ""), resumingFrom("a", at.Position))
	<-asked
	turn <- struct{}{}
	p.hears("success")
	<-asked // for b, while a is held
	r.publishMany("a", 3, 3)
	r.hub.find(id).patient(time.Now().Add(past.HoldAge - time.Second))
	close(turn)
	p.hears("success", "2", "3", "resume_success")
}
