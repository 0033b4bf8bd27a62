package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestGraceLikeItsTwin compares with a twin that knows all events beforehand: an event
// that withholds is settled with the first later one that takes it back, if that was
// stored within the grace.
func TestGraceLikeItsTwin(t *testing.T) {
	const wait = 3 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		type step struct {
			event Event
			at    time.Duration
		}
		var steps []step
		at, in := time.Duration(0), map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at += time.Duration(rapid.IntRange(0, 4000).Draw(t, "pause")) * time.Millisecond
			user := fmt.Sprint("u", rapid.IntRange(0, 2).Draw(t, "user"))
			name := MemberAdded
			if in[user] {
				name = MemberRemoved
			}
			in[user] = !in[user]
			steps = append(steps, step{Event{Name: name, Channel: "c", UserID: user}, at})
		}
		dropped := map[int]bool{}
		for i, s := range steps {
			if s.event.Name != MemberRemoved {
				continue
			}
			for j := i + 1; j < len(steps); j++ {
				if o := steps[j]; o.event.UserID == s.event.UserID {
					if o.at-s.at < wait {
						dropped[i], dropped[j] = true, true
					}
					break
				}
			}
		}
		// The gateway's clock is another one than the store's.
		skew := time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "skew")) * time.Second
		base := time.Unix(1_700_000_000, 0)
		g := grace[int]{wait: wait}
		var sent, settled []int
		release := func(now time.Time) {
			for _, h := range g.due(now) {
				sent = append(sent, h.item)
			}
		}
		for i, s := range steps {
			now := base.Add(s.at + skew)
			// What was stored at the same moment may be received first.
			release(now.Add(-time.Nanosecond))
			ok, gone := g.take(s.event, base.Add(s.at), now, i)
			if settled = append(settled, gone...); ok {
				sent = append(sent, i)
			}
			if wait, waits := g.next(now); waits && wait > 3*time.Second {
				t.Fatalf("waits %v", wait)
			}
		}
		release(base.Add(at + skew + wait))
		var want, wantGone []int
		for i := range steps {
			if dropped[i] {
				wantGone = append(wantGone, i)
			} else {
				want = append(want, i)
			}
		}
		slices.Sort(settled)
		inOrder := slices.Clone(sent)
		slices.Sort(inOrder)
		if !slices.Equal(inOrder, want) || !slices.Equal(settled, wantGone) {
			t.Fatalf("sent %v and settled %v, want %v and %v", sent, settled, want, wantGone)
		}
		last := map[string]int{}
		for _, i := range sent {
			if u := steps[i].event.UserID; i < last[u] {
				t.Fatalf("events of %s were sent out of order: %v", u, sent)
			} else {
				last[u] = i
			}
		}
	})
}
