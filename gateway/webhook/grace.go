package webhook

import "time"

// opposite are the events that withhold, each with the one that takes it back.
var opposite = map[string]string{ChannelVacated: ChannelOccupied, MemberRemoved: MemberAdded}

// partner is the other event of a pair, empty for an event that has none.
func partner(name string) string {
	switch name {
	case ChannelOccupied:
		return ChannelVacated
	case MemberAdded:
		return MemberRemoved
	}
	return opposite[name]
}

// grace withholds events that may be taken back (protocol section 2.6). It has no clock
// and no goroutine. Times of storing are compared with each other, times of receiving
// with each other, never one with the other: the clocks may differ.
type grace[T any] struct {
	wait time.Duration
	held []held[T]
}

// held is an event that waits.
type held[T any] struct {
	event            Event
	stored, received time.Time
	item             T
}

// take takes an event. It returns the items that are to be sent now, in order, and
// those that are settled without being sent: first the one that was taken back, then
// the one that took it back.
func (g *grace[T]) take(e Event, stored, received time.Time, item T) (now, settled []T) {
	now = g.due(received)
	// What was stored a grace later than a withheld event of the channel proves that
	// nobody came back. Who takes over finds both at the same moment, and must not
	// send the later one first.
	now = append(now, g.release(func(h *held[T]) bool {
		return h.event.Channel == e.Channel && stored.Sub(h.stored) >= g.wait
	})...)
	if _, withholds := opposite[e.Name]; withholds && g.wait > 0 {
		g.held = append(g.held, held[T]{e, stored, received, item})
		return now, nil
	}
	for i := len(g.held) - 1; i >= 0; i-- {
		h := &g.held[i]
		if opposite[h.event.Name] == e.Name && h.event.Channel == e.Channel && h.event.UserID == e.UserID {
			settled = []T{h.item, item}
			g.held = append(g.held[:i], g.held[i+1:]...)
			return now, settled
		}
	}
	return append(now, item), nil
}

// due returns the items that have waited long enough, in order.
func (g *grace[T]) due(now time.Time) []T {
	return g.release(func(h *held[T]) bool { return now.Sub(h.received) >= g.wait })
}

// release takes out those of which over says that they need not wait, in order.
func (g *grace[T]) release(over func(*held[T]) bool) (out []T) {
	kept := g.held[:0]
	for i := range g.held {
		if over(&g.held[i]) {
			out = append(out, g.held[i].item)
		} else {
			kept = append(kept, g.held[i])
		}
	}
	clear(g.held[len(kept):])
	g.held = kept
	return out
}

// next is how long until something is due, and whether anything waits.
func (g *grace[T]) next(now time.Time) (time.Duration, bool) {
	if len(g.held) == 0 {
		return 0, false
	}
	return max(g.wait-now.Sub(g.held[0].received), 0), true
}
