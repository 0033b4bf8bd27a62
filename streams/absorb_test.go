package streams

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// An audit may find a channel behind whose messages are on their way, and by the time the
// log is read it may have removed them. What arrived meanwhile follows what was delivered,
// so nothing is missing; subscribers were sent away all the same.
func TestWhatArrivedProvesThatNothingIsMissing(t *testing.T) {
	at := time.Unix(1000, 0)
	where := func(offset, prev uint64) place {
		return place{offset: offset, prev: prev, time: at.Add(time.Duration(offset))}
	}
	for _, c := range []struct {
		name      string
		held      []arrival
		got, gaps int
	}{
		{"the next one is there", []arrival{{where(2, 1), &nats.Msg{}, false}, {where(3, 2), &nats.Msg{}, false}}, 2, 0},
		{"it is not", nil, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &appLog{}
			epoch := "e"
			a.epoch.Store(&epoch)
			sk := &sink{}
			f := &follower{log: &Log{}, app: a, epoch: epoch, state: repairing, target: 3, held: c.held}
			f.log.opt.MaxData = 100
			f.track.advance(1, at.Add(1))
			f.sinks = []*attachment{{follower: f, sink: sk, at: broker.Position{Epoch: epoch}}}
			if done, _ := f.absorb([]stored{{place: where(3, 0)}}, 1, 3, epoch); !done {
				t.Error("the repair is not over")
			}
			if got, gaps := sk.all(); len(got) != c.got || gaps != c.gaps {
				t.Errorf("%d publications and %d gaps, want %d and %d", len(got), gaps, c.got, c.gaps)
			}
		})
	}
}

// An answer of the log that is older than what was delivered since it was asked says
// nothing: each audit of a busy channel held it up to ask the leader.
func TestAnAnswerIsComparedWithWhatWasDeliveredBefore(t *testing.T) {
	f := &follower{state: following}
	f.track.advance(9, time.Unix(1000, 0))
	if f.catchUp(5, 5); f.state != following {
		t.Error("the channel is held up")
	}
}
