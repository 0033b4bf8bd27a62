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

// A log that was restored went on before anybody noticed. What was stored between the look
// at it and the new epoch was delivered as it came, and then again behind the gap.
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
			f := &follower{log: &Log{}, app: &appLog{}, epoch: "old", state: repairing}
			f.sinks = []*attachment{{follower: f, sink: sk, at: broker.Position{Epoch: "old"}}}
			if c.offset > 0 {
				f.track.advance(c.offset, c.at)
			}
			f.newEpoch(broker.Position{Epoch: "new", Offset: 10}, look)
			if want := (broker.Position{Epoch: "new", Offset: c.begin}); len(sk.gaps) != 1 || sk.gaps[0].Resume != want || f.here() != want {
				t.Errorf("gaps %+v, followed from %+v, want %+v", sk.gaps, f.here(), want)
			}
		})
	}
}
