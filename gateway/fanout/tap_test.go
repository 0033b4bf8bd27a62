package fanout

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestRun05TapShowsWhatIsPosted: a tap sees each publication once, while it is open. The frames that it
// predicts are those that a subscription with deltas gets.
func TestRun05TapShowsWhatIsPosted(t *testing.T) {
	for _, form := range []Form{Delta, Delta | Keyed, Delta | V2 | Keyed, Delta | VCDIFF} {
		x := newSubject(t, form)
		line := x.stage.channels[0].Line
		line.Shards = line.Shards[:0] // there is no subscriber
		var first, second []*Event
		post := func() { line.Post(x.publication("tick", "a")) }
		post()
		stop := line.Tap(&Tap{func(p *Event) { first = append(first, p) }})
		post()
		end := line.Tap(&Tap{func(p *Event) { second = append(second, p) }})
		post()
		stop()
		post()
		end()
		post()
		stop() // calling it twice is harmless
		if len(first) != 2 || len(second) != 2 || line.Posted() != 5 || line.taps.Load() != nil {
			t.Fatalf("%v: %d and %d shown of %d", form, len(first), len(second), line.Posted())
		}
	}
}

func TestRun05OutcomeIsWhatIsSent(t *testing.T) {
	x := newSubject(t, Delta|Keyed)
	line := x.stage.channels[0].Line
	shown := Delta
	if line.Rules().Keyed {
		shown |= Keyed
	}
	if line.Rules().Delta.Algorithm == VCDIFF.Algorithm() {
		shown |= VCDIFF
	}
	x.sub.form = shown
	deltas := 0
	for range 20 {
		p := x.publication("tick", "a")
		f, full := x.list.frame(x.sub, p)
		got := p.Outcome()
		want := 0
		if f != full {
			want = len(f.Payload())
			deltas++
		}
		if got.Full != len(full.Payload()) || got.Delta != want || !got.Tracked {
			t.Errorf("got %+v, the subscription gets %d of %d bytes", got, len(f.Payload()), len(full.Payload()))
		}
		x.list.last = p.Pub.Offset
	}
	if deltas < 10 {
		t.Errorf("only %d went out as deltas", deltas)
	}
	p := x.publication("tick", "a")
	p.Tracked = false
	if got := p.Outcome(); got.Tracked || got.Delta != 0 || got.Full != len(p.Bare(pusher.V1, false).Payload()) {
		t.Errorf("untracked: %+v", got)
	}
}

// TestRun05StandingsByState: a standing reports what waits for a subscription in each state.
func TestRun05StandingsByState(t *testing.T) {
	x := newSubject(t, Delta|Keyed)
	line := x.stage.channels[0].Line
	only := func() (s Standing) {
		line.Standings(func(at Standing) { s = at })
		return s
	}
	x.list.last, x.list.posted = 7, 2
	if got := only(); got.State != "live" || got.Waiting != 2 || got.Place != 7 || got.Head != 7 || !got.Deltas {
		t.Errorf("live: %+v", got)
	}
	x.list.posted = 0
	a, b, c := x.publication("tick", "a"), x.publication("tick", "b"), x.publication("tick", "a")
	for i, p := range []*Event{a, b, c} {
		p.Pub.Time = time.UnixMilli(int64(1000 * (i + 1)))
		x.list.fallBehind(x.sub, p)
	}
	if got := only(); got.State != "behind" || got.Waiting != 2 || got.Skipped != 1 || got.Oldest != 2000 || got.Place != a.Pub.Offset-1 {
		t.Errorf("behind: %+v", got)
	}
	x.list.details[x.sub.out].queue.discard()
	x.sub.state = catching
	x.list.details[x.sub.out].past = &Way{Line: line, Place: 3}
	if got := only(); got.State != "catching" || got.Place != 3 || got.Head != 7 {
		t.Errorf("catching up: %+v", got)
	}
	if line.Count() != 1 {
		t.Errorf("%d subscriptions", line.Count())
	}
}
