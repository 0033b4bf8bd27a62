package fanout

import (
	"github.com/sluicehq/sluice/gateway/socket"
)

// subscription is a subscription of one socket to one channel: which bases the socket holds, and what it gets
// next. It has no copies of bases: the socket holds every publication above since that was meant for it,
// except where it has holes. State that only few subscriptions have is in their [details].
type subscription struct {
	out   *socket.Outbox
	since uint64
	form  Form
	state state
	marks marks
	// filter is a number of [filters].
	filter uint32
}

// state says what a subscription gets next.
type state uint8

const (
	// live: each publication as it arrives.
	live state = iota
	// behind: the newest publication of each conflation value, which waits in the queue until the socket has
	// taken what was sent before.
	behind
	// catching: the past of the channel, publication by publication, until it is live.
	catching
)

func (s state) String() string { return [...]string{"live", "behind", "catching"}[s] }

// marks say what else must be checked before a subscription gets a frame.
type marks uint8

const (
	// holed: it has missed publications that were not meant for it or that it was too slow for.
	holed marks = 1 << iota
	// bounded: the channels of its connection that hold bases are bounded.
	bounded
	// placed: its frames carry the position of its reader, see [Places].
	placed
)

// details are the state that only few subscriptions have.
type details struct {
	// holes are set with the mark holed.
	holes holes
	// queue is what waits while the subscription is behind.
	queue queue
	// past is the way of a subscription that is catching up.
	past *Way
}

// detail returns the details of a subscription, and creates them if there are none.
func (s *Subscribers) detail(sub *subscription) *details {
	d := s.details[sub.out]
	if d == nil {
		if s.details == nil {
			s.details = map[*socket.Outbox]*details{}
		}
		d = &details{}
		s.details[sub.out] = d
	}
	return d
}

// tidy removes the details of a subscription that needs none any more.
func (s *Subscribers) tidy(sub *subscription) {
	if sub.state == live && sub.marks&holed == 0 {
		delete(s.details, sub.out)
	}
}

// fate is what happens to a publication for one subscription.
type fate uint8

const (
	// had: nothing, because the socket has it already.
	had fate = iota
	// spared: nothing, because it is not meant for this subscription, see [Subscribers.missed].
	spared
	// due: the socket gets its frame now.
	due
	// waits: it is put into the queue of the subscription.
	waits
	// met: the subscription will come to it on its way through the past.
	met
)

// fate decides what happens to a publication that is delivered.
func (s *Subscribers) fate(sub *subscription, p *Event) fate {
	switch {
	case sub.state == catching:
		return met
	case p.Pub.Offset <= sub.since:
		return had
	case !s.concerns(sub, p):
		return spared
	case sub.state == behind:
		return waits
	}
	return due
}

// concerns reports whether a publication is meant for a subscription. A publication that excludes a socket is
// not for the socket that succeeded it either: it may have been stored before the old socket broke off, and
// arrive when the client has reconnected.
func (s *Subscribers) concerns(sub *subscription, p *Event) bool {
	if p.Pub.ExcludeSocket != "" {
		if to := sub.out.Socket(); p.Exclude != nil && to == p.Exclude || to.Succeeded(p.Pub.ExcludeSocket) {
			return false
		}
	}
	return s.filters.passes(sub.filter, p)
}

// frame returns the frame of a publication for a subscription: the delta from a base that the socket holds,
// if there is one. full is the full frame with its markers, nil if the publication does not take part in
// delta compression for this subscription.
func (s *Subscribers) frame(sub *subscription, p *Event) (f, full *socket.Frame) {
	if sub.form&Delta == 0 || !p.Tracked {
		return s.plain(sub, p), nil
	}
	if sub.marks&bounded != 0 && !s.recent[sub.out].has(s) {
		s.restart(sub)
	}
	full = p.full(sub.form)
	if base := s.base(sub, p); base >= 0 {
		if d := p.delta(sub.form, base); d != nil {
			return d, full
		}
	}
	return full, full
}

// plain returns the frame of a publication without markers.
func (s *Subscribers) plain(sub *subscription, p *Event) *socket.Frame {
	return p.Bare(sub.form.Dialect(), sub.form&Delta != 0)
}

// used notes that a frame with markers was sent.
func (s *Subscribers) used(sub *subscription) {
	if sub.marks&bounded != 0 {
		s.recent[sub.out].Touch(s)
	}
}

// fallBehind puts a publication into the queue of a subscription, which is behind from then on. It reports
// whether the publication replaced an older one, and whether too many wait.
func (s *Subscribers) fallBehind(sub *subscription, p *Event) (replaced, tooMany bool) {
	q := &s.detail(sub).queue
	sub.state = behind
	replaced = q.put(p, p.line.Hall.Sockets.Budget())
	s.missed(sub, p)
	return replaced, len(q.newest) > max(p.rules.Delta.MaxKeys, 1)
}

// caughtUp notes that the socket got a publication out of the queue. After the last one, the subscription is
// live again, and caughtUp returns the notices that waited.
func (s *Subscribers) caughtUp(sub *subscription, p *Event) (late []*socket.Frame) {
	q := &s.details[sub.out].queue
	q.take(p)
	s.receivedLate(sub, p)
	if len(q.newest) == 0 {
		late = q.notices
		q.discard()
		sub.state = live
		s.tidy(sub)
	}
	return late
}
