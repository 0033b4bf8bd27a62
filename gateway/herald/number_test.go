package herald

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTrust20TheLastNumberThatIsToldIsRight: several gateways report the counts that they change, each with a
// late view and a queue of its own. Whatever the order of the reports becomes, the last one is the last
// count.
func TestTrust20TheLastNumberThatIsToldIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const tick = 100 * time.Millisecond
		type change struct {
			at     time.Duration
			author int
			count  int
		}
		type told struct {
			stored  time.Duration
			count   int
			version uint64
		}
		gateways := rapid.IntRange(2, 4).Draw(t, "gateways")
		count := rapid.SampledFrom([]int{1, 99, 150, 5000}).Draw(t, "subscribers")
		var changes []change
		at := time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			at += time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")) * tick
			count += rapid.SampledFrom([]int{1, -1, 2}).Draw(t, "step")
			changes = append(changes, change{at, rapid.IntRange(0, gateways-1).Draw(t, "author"), count})
		}
		var out []told
		began := time.Unix(1000, 0)
		for g := range gateways {
			gate, seen := number{}, 0
			late := time.Duration(rapid.IntRange(0, 20).Draw(t, "view is late")) * tick
			slow := time.Duration(rapid.IntRange(0, 20).Draw(t, "queue is late")) * tick
			for now := time.Duration(0); now < at+2*overtaking+late+slow; now += tick {
				for seen < len(changes) && changes[seen].at+late <= now {
					c, version := changes[seen], uint64(seen+1)
					if seen++; c.author != g {
						gate.learn(c.count, version, began.Add(now))
					} else if gate.offer(c.count, version, began.Add(now)) {
						out = append(out, told{now + slow, c.count, version})
					}
				}
				if gate.due(began.Add(now)) {
					out = append(out, told{now + slow, gate.count, gate.version})
				}
			}
			if gate.pending {
				t.Fatalf("gateway %d keeps a number back for ever", g)
			}
		}
		slices.SortStableFunc(out, func(a, b told) int { return int(a.stored - b.stored) })
		if last := out[len(out)-1]; last.count != count || last.version != uint64(len(changes)) {
			t.Fatalf("the last number told is %+v, want %d", last, count)
		}
	})
}

// TestTrust20ANumberKeptBackIsTheNewest: one gateway holds its count back for five seconds, and another one
// reports a newer count meanwhile.
func TestTrust20ANumberKeptBackIsTheNewest(t *testing.T) {
	now := time.Unix(1000, 0)
	var one, other number
	if !one.offer(150, 1, now) || one.offer(151, 2, now.Add(time.Second)) {
		t.Fatal("the first number is told at once, the second is kept back")
	}
	other.learn(151, 2, now.Add(time.Second))
	if !other.offer(152, 3, now.Add(2*time.Second)) {
		t.Fatal("the other one tells its number at once")
	}
	one.learn(152, 3, now.Add(2*time.Second))
	if !one.due(now.Add(5*time.Second)) || one.count != 152 {
		t.Errorf("the number that was kept back is %d, want 152", one.count)
	}
	if other.pending {
		t.Error("the other one owes nothing")
	}
}
