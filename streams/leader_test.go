package streams

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestTime05ALeaderThatWasJustElected: a new leader may not have applied all acknowledged messages, so for a
// moment nothing is concluded from what it lacks.
func TestTime05ALeaderThatWasJustElected(t *testing.T) {
	var l leadership
	now := time.Now()
	led := func(by string) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{Cluster: &jetstream.ClusterInfo{Leader: by}}
	}
	for _, step := range []struct {
		what    string
		do      func()
		after   time.Duration
		settled bool
	}{
		{"nobody is known", func() {}, 0, true},
		{"the one that was there", func() { l.saw(led("a"), now) }, 0, true},
		{"a stream that is alone", func() { l.saw(&jetstream.StreamInfo{}, now) }, 0, true},
		{"nobody leads", func() { l.saw(led(""), now) }, 0, true},
		{"another one", func() { l.saw(led("b"), now) }, 0, false},
		{"the same again", func() { l.saw(led("b"), now) }, leaderSettles - 1, false},
		{"a while later", func() { l.saw(led("b"), now) }, leaderSettles, true},
		{"elected again", func() { l.elected(now) }, 0, false},
	} {
		now = now.Add(step.after)
		if step.do(); l.settled(now) != step.settled {
			t.Errorf("%s: settled is %v", step.what, !step.settled)
		}
	}
}

// TestTime05NeedlessFailuresOfPositions: before, near the end of a leader a valid position was refused as
// expired or unknown, because the new leader had not applied it yet. Such an answer is not believed until the
// leader is settled; then it is.
func TestTime05NeedlessFailuresOfPositions(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	var first, last broker.Position
	for n := range 110 {
		at, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Append(nil, n)}})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = at[0].Position
		}
		last = at[0].Position
	}
	s, err := l.span("app-1", "c")
	if err != nil {
		t.Fatal(err)
	}
	ahead := last
	ahead.Offset += 1000
	a := l.apps.Of("app-1")
	for _, c := range []struct {
		what string
		pos  broker.Position
		want error
	}{{"evicted", first, broker.ErrPositionExpired}, {"ahead", ahead, broker.ErrPositionUnknown}, {"good", last, nil}} {
		for _, settled := range []bool{false, true} {
			a.copies.Store(3) // as far as this test needs it
			a.leader.elected(time.Now().Add(-time.Hour))
			want := c.want
			if !settled {
				a.leader.elected(time.Now().Add(time.Hour))
				if want != nil {
					want = errStale
				}
			}
			if _, err := s.after(t.Context(), c.pos, 10); !errors.Is(err, want) {
				t.Errorf("a position that is %s, settled %v: got %v, want %v", c.what, settled, err, want)
			}
		}
	}
	// A leader that may lack messages does not report the state of a channel either.
	a.copies.Store(3)
	a.leader.elected(time.Now().Add(time.Hour))
	if err := s.unless(nil); !errors.Is(err, errStale) {
		t.Errorf("got %v", err)
	}
}
