package fanout

import (
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// deliver implements [Prepared]: it puts a publication into the outboxes of the subscriptions for which it is
// due.
func (p *Event) deliver(s *Shard, to *Subscribers) {
	var sum Tally
	count := uint64(0)
	conflates := p.rules.Conflates
	put := (*socket.Outbox).Push
	if conflates {
		put = (*socket.Outbox).Offer
	}
	p.foresee(&to.outlook)
	var seen outlook
	to.mu.Lock()
	for i := range to.list {
		sub := &to.list[i]
		switch to.fate(sub, p) {
		case had, met:
			continue
		case spared:
			s.spare(to, sub, p)
			continue
		case waits:
			if !conflates {
				// It fell behind while the rules allowed conflation, and must not lose this publication.
				s.giveUp(sub)
				continue
			}
			s.keep(p, to, sub)
			continue
		}
		f, full := to.frame(sub, p)
		seen.saw(sub, p, f, full)
		var result socket.Pushed
		switch {
		case sub.marks&placed != 0:
			result = to.hand(sub, p, f, put)
		case conflates:
			result = sub.out.Offer(f)
		default:
			result = sub.out.Push(f)
		}
		switch result {
		case socket.Dropped:
			continue
		case socket.Wakes:
			s.loop.dirty = append(s.loop.dirty, sub.out)
		case socket.Overflowed:
			s.loop.dirty = append(s.loop.dirty, sub.out)
			continue
		case socket.Refused:
			s.loop.behind[sub.out] = append(s.loop.behind[sub.out], to)
			s.keep(p, to, sub)
			continue
		}
		if full != nil {
			sum.add(f, full)
			to.used(sub)
		}
		to.received(sub, p)
		count++
	}
	to.done(p)
	to.filters.forgetLast()
	to.mu.Unlock()
	to.outlook.follow(&seen, p)
	s.Delivered.Add(count)
	if count > 0 {
		s.loop.handed = append(s.loop.handed, Handed{p.line.App, p.Pub.Time})
	}
	p.line.sent(&sum)
}

// keep puts a publication into the queue of a subscription that is behind.
func (s *Shard) keep(p *Event, to *Subscribers, sub *subscription) {
	replaced, tooMany := to.fallBehind(sub, p)
	if replaced {
		s.Conflated.Add(1)
	}
	if tooMany {
		s.giveUp(sub)
	}
}

// giveUp closes a socket that misses more than the server can report to it.
func (s *Shard) giveUp(sub *subscription) {
	if sub.out.GiveUp(socket.ByQueue) == socket.Overflowed {
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
}

// push queues a frame, and reports whether the socket took it. A full outbox closes the socket.
func (s *Shard) push(o *socket.Outbox, f *socket.Frame) bool {
	switch o.Push(f) {
	case socket.Dropped:
		return false
	case socket.Wakes:
		s.loop.dirty = append(s.loop.dirty, o)
	case socket.Overflowed:
		s.loop.dirty = append(s.loop.dirty, o)
		return false
	}
	return true
}

// CatchUp sends a socket whose outbox is empty what waits for it. It implements [socket.Loop].
func (s *Shard) CatchUp(o *socket.Outbox) {
	channels := s.loop.behind[o]
	rest := channels[:0]
	for _, to := range channels {
		if !s.feed(o, to) || !s.catchUp(o, to) {
			rest = append(rest, to)
		}
	}
	clear(channels[len(rest):])
	if len(rest) == 0 {
		delete(s.loop.behind, o)
		return
	}
	s.loop.behind[o] = rest
}

// catchUp sends the queue of a subscription. It reports whether the subscription is no longer behind.
func (s *Shard) catchUp(o *socket.Outbox, to *Subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	i, ok := to.index[o]
	if !ok || to.list[i].state != behind {
		return true
	}
	sub, q := &to.list[i], &to.details[o].queue
	for n, p := range q.inOrder() {
		if n == 0 && q.skipped > 0 {
			// The outbox was empty when CatchUp began, so this frame usually fits.
			if o.Offer(conflatedFrame(p.line.Name, sub.form.Dialect(), q, s.hall.MessageID())) == socket.Refused {
				return false
			}
			q.told()
		}
		f, full := to.frame(sub, p)
		switch to.hand(sub, p, f, (*socket.Outbox).Offer) {
		case socket.Refused:
			return false
		case socket.Dropped:
			return true
		}
		if full != nil {
			var one Tally
			one.add(f, full)
			p.line.sent(&one)
			to.used(sub)
		}
		s.Delivered.Add(1)
		for _, f := range to.caughtUp(sub, p) {
			if o.Push(f) == socket.Overflowed {
				break
			}
		}
	}
	return true
}

// conflatedFrame tells a client how many publications were replaced by newer ones of the same conflation
// value.
func conflatedFrame(channel string, d pusher.Dialect, q *queue, messageID string) *socket.Frame {
	if d != pusher.V2 {
		messageID = ""
	}
	return ControlFrame(d, 128+len(channel), &pusher.Control{
		Event: "conflated", Channel: channel, MessageID: messageID,
		Object: pusher.AppendConflatedData(nil, q.skipped, q.first, q.last),
	})
}
