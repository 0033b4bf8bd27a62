package follow

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
)

// told is a sink that records what it gets.
type told struct{ all []string }

func (s *told) Publication(p *broker.Publication) { s.all = append(s.all, fmt.Sprint(p.Offset)) }

func (s *told) Gap(g broker.Gap) {
	s.all = append(s.all, fmt.Sprintf("%s:%d to %s:%d, empty %t", g.After.Epoch, g.After.Offset, g.Resume.Epoch, g.Resume.Offset, g.Empty))
}

func published(offset uint64) *broker.Publication {
	p := &broker.Publication{}
	p.Offset = offset
	return p
}

// TestACourseTellsEverySinkTheSame: whatever happens in which order, each sink gets everything above the
// current position, once and in order, from its attachment until its detachment. A course never goes back
// within an epoch.
func TestACourseTellsEverySinkTheSame(t *testing.T) {
	type sink struct {
		*told
		attached *Attachment[int]
		from     int // the number of notices sent before it came
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := &course[int]{state: following, at: broker.Position{Epoch: "a"}, empty: true}
		at, empty, epochs := c.at, true, 0
		var want []string
		var sinks []sink
		deliver := func() {
			out := c.take()
			for i := range out {
				out[i].tell()
			}
			c.done(out)
		}
		for range rapid.IntRange(10, 80).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				p := published(at.Offset + rapid.Uint64Range(0, 4).Draw(rt, "offset"))
				if p.Offset -= min(p.Offset, 2); p.Offset > at.Offset {
					at.Offset = p.Offset
					want = append(want, fmt.Sprint(p.Offset))
				}
				empty = false
				c.give(p)
			case 3:
				to := broker.Position{Epoch: at.Epoch, Offset: rapid.Uint64Range(0, at.Offset+5).Draw(rt, "resume")}
				if rapid.Bool().Draw(rt, "new life") {
					epochs++
					to.Epoch = fmt.Sprint("life ", epochs)
				}
				none := rapid.Bool().Draw(rt, "none")
				c.gap(to, broker.GapUnavailable, none)
				if to.Epoch == at.Epoch {
					to.Offset = max(to.Offset, at.Offset)
				}
				empty = none || to.Offset == 0
				want = append(want, fmt.Sprintf("%s:%d to %s:%d, empty %t", at.Epoch, at.Offset, to.Epoch, to.Offset, empty))
				at = to
			case 4:
				deliver()
			case 5:
				s := sink{&told{}, nil, len(want)}
				s.attached = &Attachment[int]{sink: s.told}
				c.attach(s.attached)
				if s.attached.Position() != at || s.attached.Empty() != empty {
					rt.Fatalf("attached at %v, empty %t, want %v, %t", s.attached.Position(), s.attached.Empty(), at, empty)
				}
				sinks = append(sinks, s)
			case 6:
				if len(sinks) == 0 {
					continue
				}
				// A sink that has left gets nothing more, not even notices that were still queued.
				i := rapid.IntRange(0, len(sinks)-1).Draw(rt, "leaves")
				s := sinks[i]
				sinks = slices.Delete(sinks, i, i+1)
				s.attached.gone.Store(true)
				c.detach(s.attached)
				before := len(s.all)
				deliver()
				if len(s.all) != before {
					rt.Fatalf("who has left is told %v", s.all[before:])
				}
			}
			if c.at != at || c.empty != empty || len(c.sinks) != len(sinks) {
				rt.Fatalf("at %v, empty %t, %d sinks, want %v, %t, %d", c.at, c.empty, len(c.sinks), at, empty, len(sinks))
			}
		}
		deliver()
		for i, s := range sinks {
			if !slices.Equal(s.all, want[s.from:]) {
				rt.Fatalf("sink %d of %d is told %q, want %q", i, len(sinks), s.all, want[s.from:])
			}
		}
		// Nothing is queued without a sink.
		if c.give(published(at.Offset + 1)); len(c.out) != min(len(sinks), 1) {
			rt.Fatalf("%d notices for %d sinks", len(c.out), len(sinks))
		}
	})
}

// TestACourseHoldsSoMuch: held messages are bounded in number and in bytes. Beyond the bound all are dropped,
// and that is reported once.
func TestACourseHoldsSoMuch(t *testing.T) {
	for _, size := range []int{1, 1 << 20} {
		c := &course[int]{state: repairing}
		if c.free() {
			t.Error("a message passes the reading of the log")
		}
		c.state, c.out = following, make([]notice[int], 1)
		if c.free() {
			t.Error("a message passes what was to be told")
		}
		c.state, c.out = repairing, nil
		var want []int
		bytes, dropped := 0, 0
		for i := range 3 * maxHeld {
			full := len(want) == maxHeld || bytes > maxHeldBytes
			if full {
				want, bytes = nil, 0
				dropped++
			}
			want, bytes = append(want, i), bytes+size
			if c.hold(i, size); c.dropped != full || !slices.Equal(c.held[max(0, len(c.held)-3):], want[max(0, len(want)-3):]) || len(c.held) != len(want) {
				t.Fatalf("%d of %d bytes: %d are held, dropped %t, want %d, %t", i, size, len(c.held), c.dropped, len(want), full)
			}
			c.dropped = false
		}
		if dropped == 0 {
			t.Fatalf("all of %d bytes were held", size)
		}
		if c.due() != nil {
			t.Error("what is held is due while the log is read")
		}
		c.state = following
		c.out = make([]notice[int], 1)
		if c.due() != nil || c.free() {
			t.Error("what is held is due before what was to be told")
		}
		c.out = nil
		if c.free() {
			t.Error("a message passes those that are held")
		}
		if got := c.due(); !slices.Equal(got, want) || c.due() != nil || !c.free() {
			t.Errorf("%d are due, want %d", len(got), len(want))
		}
		c.telling = true
		if c.free() {
			t.Error("a message passes what is being told")
		}
		c.attach(&Attachment[int]{sink: &told{}})
		c.give(published(1))
		c.hold(1, 1)
		if c.end(); c.due() != nil || c.free() || len(c.sinks)+len(c.held)+len(c.out) > 0 {
			t.Error("a course goes on that has ended")
		}
	}
}
