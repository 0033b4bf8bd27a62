package webhook

import "time"

// opposite maps each event that is withheld to the event that cancels it.
var opposite = map[string]string{ChannelVacated: ChannelOccupied, MemberRemoved: MemberAdded}

// partner returns the other event of a pair, empty for an event without one.
func partner(name string) string {
	switch name {
	case ChannelOccupied:
		return ChannelVacated
	case MemberAdded:
		return MemberRemoved
	}
	return opposite[name]
}

// grace withholds events that may be cancelled (protocol section 2.6). It has no clock and no goroutine. Times
// of storing are compared only with each other, and times of receiving only with each other, because the clocks
// may differ.
type grace[T any] struct {
	wait time.Duration
	held []held[T]
}

// held is an event that is withheld.
type held[T any] struct {
	event            Event
	stored, received time.Time
	item             T
}

// take adds an event. It returns the items to send now, in order, and those that are settled without being sent:
// first the cancelled one, then the one that cancelled it.
func (g *grace[T]) take(e Event, stored, received time.Time, item T) (now, settled []T) {
	now = g.due(received)
	// An event that was stored a grace later than a withheld event of its channel proves that nothing cancelled
	// that one. A gateway that takes over a queue receives both at once, and must not send the later one first.
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

// due returns the items whose grace has ended, in order. The gateways of a cluster may report one moment in any
// order, so a vacated channel waits for members whose removal arrived within its own grace.
func (g *grace[T]) due(now time.Time) []T {
	if len(g.held) == 0 || now.Sub(g.held[0].received) < g.wait {
		return nil // the first one received has waited longest
	}
	leaving := map[string]time.Time{}
	for i := range g.held {
		h := &g.held[i]
		if _, some := leaving[h.event.Channel]; !some && h.event.Name == MemberRemoved && now.Sub(h.received) < g.wait {
			leaving[h.event.Channel] = h.received
		}
	}
	return g.release(func(h *held[T]) bool {
		next, some := leaving[h.event.Channel]
		early := h.event.Name == ChannelVacated && some && next.Sub(h.received) < g.wait
		return now.Sub(h.received) >= g.wait && !early
	})
}

// release removes the events for which over reports true and returns them in order, with vacated channels last,
// after the members who left them.
func (g *grace[T]) release(over func(*held[T]) bool) (out []T) {
	var vacated []T
	kept := g.held[:0]
	for i := range g.held {
		switch h := &g.held[i]; {
		case !over(h):
			kept = append(kept, *h)
		case h.event.Name == ChannelVacated:
			vacated = append(vacated, h.item)
		default:
			out = append(out, h.item)
		}
	}
	clear(g.held[len(kept):])
	g.held = kept
	return append(out, vacated...)
}

// next returns the time until an event is due, and whether any is withheld.
func (g *grace[T]) next(now time.Time) (time.Duration, bool) {
	for i := range g.held {
		h := &g.held[i]
		if left := g.wait - now.Sub(h.received); left > 0 || h.event.Name != ChannelVacated {
			return max(left, 0), true
		}
	}
	return 0, len(g.held) > 0
}
