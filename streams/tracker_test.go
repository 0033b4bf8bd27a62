package streams

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestFollowingTheTrackerGivesTheLog: messages with rising offsets reach the tracker with losses, repeats and
// delays. If the caller acts on its verdicts, the result is the log itself up to the newest message heard of:
// nothing twice, nothing missing, nothing out of order.
func TestFollowingTheTrackerGivesTheLog(t *testing.T) {
	type message struct {
		offset, prev uint64
		at           time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		var log []message
		at, offset := time.Unix(1000, 0), uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			m := message{prev: offset}
			offset += rapid.Uint64Range(1, 5).Draw(t, "step")
			at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "ns")))
			m.offset, m.at = offset, at
			log = append(log, m)
		}
		var tr tracker
		var got []uint64
		furthest := 0
		heard := rapid.SliceOfN(rapid.IntRange(0, len(log)-1), 1, 80).Draw(t, "heard")
		for _, i := range heard {
			m := log[i]
			furthest = max(furthest, i+1)
			switch v := tr.judge(m.offset, m.prev, m.at); v {
			case drop:
			case repair:
				for _, lost := range log[:i] {
					if lost.offset > tr.last {
						tr.advance(lost.offset, lost.at)
						got = append(got, lost.offset)
					}
				}
				if again := tr.judge(m.offset, m.prev, m.at); again != deliver {
					t.Fatalf("after the repair the verdict on %d is %d", m.offset, again)
				}
				tr.advance(m.offset, m.at)
				got = append(got, m.offset)
			case deliver:
				tr.advance(m.offset, m.at)
				got = append(got, m.offset)
			default:
				t.Fatalf("the verdict on %d of an intact log is %d", m.offset, v)
			}
		}
		var want []uint64
		for _, m := range log[:furthest] {
			want = append(want, m.offset)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("heard %v, delivered %v, want %v", heard, got, want)
		}
	})
}

func TestAnOffsetGivenOutAgainIsSuspect(t *testing.T) {
	now := time.Unix(1000, 0)
	tr := tracker{last: 10, seen: mark{offset: 10, time: now}}
	for _, c := range []struct {
		offset, prev uint64
		at           time.Time
		want         verdict
	}{
		{10, 9, now, drop},
		{9, 8, now.Add(-time.Second), drop},
		{10, 9, now.Add(time.Second), suspect},
		{3, 2, now.Add(time.Second), suspect},
		{11, 10, now.Add(time.Second), deliver},
		{11, 0, now.Add(time.Second), suspect}, // where is the one at 10?
		{13, 12, now.Add(time.Second), repair},
	} {
		if got := tr.judge(c.offset, c.prev, c.at); got != c.want {
			t.Errorf("judge(%d, %d, %v) is %d, want %d", c.offset, c.prev, c.at, got, c.want)
		}
	}
}

// TestAfterAGapTheTrackerGoesOn: after a gap nothing proves anything until the next message. Messages at or
// below the position are dropped, those above it are delivered or cause a repair.
func TestAfterAGapTheTrackerGoesOn(t *testing.T) {
	now := time.Unix(1000, 0)
	tr := tracker{last: 10, seen: mark{offset: 10, time: now}}
	tr.forget()
	tr.skip(20)
	for _, c := range []struct {
		offset, prev uint64
		at           time.Time
		want         verdict
	}{
		{20, 15, now.Add(time.Second), drop},
		{9, 8, now, drop},
		{21, 20, now.Add(time.Second), deliver},
		{21, 5, now.Add(-time.Hour), deliver},
		{30, 25, now, repair},
	} {
		if got := tr.judge(c.offset, c.prev, c.at); got != c.want {
			t.Errorf("judge(%d, %d, %v) is %d, want %d", c.offset, c.prev, c.at, got, c.want)
		}
	}
}
