package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestGraceLikeItsTwin compares with a twin that knows all events beforehand: a withheld event is settled by
// the first later event that takes it back, if that was stored within the grace.
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
		// The clocks of the gateway and of the store differ.
		skew := time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "skew")) * time.Second
		base := time.Unix(1_700_000_000, 0)
		g := grace[int]{wait: wait}
		var sent, settled []int
		release := func(now time.Time) { sent = append(sent, g.due(now)...) }
		for i, s := range steps {
			now := base.Add(s.at + skew)
			// An event stored at the same moment may be received first.
			release(now.Add(-time.Nanosecond))
			ready, gone := g.take(s.event, base.Add(s.at), now, i)
			sent, settled = append(sent, ready...), append(settled, gone...)
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

// TestGraceKeepsOrderHoweverLate: events are received later than they were stored, and many at the same
// moment, as by a gateway that takes a queue over.
func TestGraceKeepsOrderHoweverLate(t *testing.T) {
	const wait = 3 * time.Second
	type step struct {
		event            Event
		stored, received time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		g := grace[int]{wait: wait}
		var steps []step
		var sent, settled []int
		in := map[Event]bool{}
		stored, received := time.Unix(1_700_000_000, 0), time.Unix(1_800_000_000, 0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			stored = stored.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "pause")) * time.Millisecond)
			received = received.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 500, 2500, 5000}).Draw(t, "later")) * time.Millisecond)
			e := Event{Channel: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"), UserID: rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "user")}
			there := in[e]
			in[e] = !there
			switch {
			case e.UserID == "" && there:
				e.Name = ChannelVacated
			case e.UserID == "":
				e.Name = ChannelOccupied
			case there:
				e.Name = MemberRemoved
			default:
				e.Name = MemberAdded
			}
			now, gone := g.take(e, stored, received, len(steps))
			steps = append(steps, step{e, stored, received})
			for _, i := range now {
				s := steps[i]
				if _, withholds := opposite[s.event.Name]; withholds && received.Sub(s.received) < wait &&
					(s.event.Channel != e.Channel || stored.Sub(s.stored) < wait) {
					t.Fatalf("event %d was sent within its grace", i)
				}
			}
			sent, settled = append(sent, now...), append(settled, gone...)
		}
		sent = append(sent, g.due(received.Add(wait))...)
		if len(g.held) > 0 || len(sent)+len(settled) != len(steps) {
			t.Fatalf("%d were sent, %d settled and %d held of %d", len(sent), len(settled), len(g.held), len(steps))
		}
		key := func(i int) Event {
			return Event{Channel: steps[i].event.Channel, UserID: steps[i].event.UserID}
		}
		for i := 0; i < len(settled); i += 2 {
			gone, back := settled[i], settled[i+1]
			if key(gone) != key(back) || opposite[steps[gone].event.Name] != steps[back].event.Name ||
				back < gone || steps[back].stored.Sub(steps[gone].stored) >= wait {
				t.Fatalf("events %d and %d were settled", gone, back)
			}
		}
		// The last event sent for a channel or a member is the latest one.
		last := map[Event]int{}
		for _, i := range sent {
			if before, ok := last[key(i)]; ok && i < before {
				t.Fatalf("event %d was sent after %d", i, before)
			}
			last[key(i)] = i
		}
	})
}

// TestWeeks18MembersAreGoneBeforeTheirChannel: two gateways report the same moment. The one with the last
// member says that the channel is vacated, and the report of the other one, whose member left a little
// earlier, comes after it.
func TestWeeks18MembersAreGoneBeforeTheirChannel(t *testing.T) {
	const wait = 3 * time.Second
	for _, between := range []time.Duration{0, time.Millisecond, wait - time.Millisecond} {
		g := grace[string]{wait: wait}
		at := time.Unix(1_700_000_000, 0)
		g.take(Event{Name: MemberRemoved, Channel: "c", UserID: "a"}, at, at, "a")
		g.take(Event{Name: ChannelVacated, Channel: "c"}, at, at, "vacated")
		g.take(Event{Name: ChannelVacated, Channel: "other"}, at, at, "other")
		late := at.Add(between)
		g.take(Event{Name: MemberRemoved, Channel: "c", UserID: "b"}, late, late, "b")
		var sent []string
		for now := at; len(g.held) > 0; {
			left, _ := g.next(now)
			now = now.Add(left)
			out := g.due(now)
			if len(out) == 0 {
				t.Fatalf("%v: nothing is due when something should be", between)
			}
			sent = append(sent, out...)
		}
		if got := slices.DeleteFunc(sent, func(s string) bool { return s == "other" }); !slices.Equal(got, []string{"a", "b", "vacated"}) {
			t.Errorf("%v: sent %v", between, got)
		}
	}
}
