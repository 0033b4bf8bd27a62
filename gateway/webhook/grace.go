package webhook

import "time"

// opposite are the events that withhold, each with the one that takes it back.
var opposite = map[string]string{ChannelVacated: ChannelOccupied, MemberRemoved: MemberAdded}

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

// take takes an event. It returns whether the event is to be sent now, and the items
// that are settled without being sent.
func (g *grace[T]) take(e Event, stored, received time.Time, item T) (now bool, settled []T) {
	if _, withholds := opposite[e.Name]; withholds && g.wait > 0 {
		g.held = append(g.held, held[T]{e, stored, received, item})
		return false, nil
	}
	for i := len(g.held) - 1; i >= 0; i-- {
		h := &g.held[i]
		if opposite[h.event.Name] != e.Name || h.event.Channel != e.Channel || h.event.UserID != e.UserID {
			continue
		}
		if stored.Sub(h.stored) >= g.wait {
			break
		}
		settled = []T{h.item, item}
		g.held = append(g.held[:i], g.held[i+1:]...)
		return false, settled
	}
	return true, nil
}

// due returns the items that have waited long enough, in order.
func (g *grace[T]) due(now time.Time) []held[T] {
	n := 0
	for n < len(g.held) && now.Sub(g.held[n].received) >= g.wait {
		n++
	}
	out := append([]held[T](nil), g.held[:n]...)
	g.held = append(g.held[:0], g.held[n:]...)
	return out
}

// next is how long until something is due, and whether anything waits.
func (g *grace[T]) next(now time.Time) (time.Duration, bool) {
	if len(g.held) == 0 {
		return 0, false
	}
	return max(g.wait-now.Sub(g.held[0].received), 0), true
}
