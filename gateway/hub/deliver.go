package hub

import (
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// deliver puts a publication into the outboxes of the shard's subscribers.
func (s *shard) deliver(j job) {
	if j.p.notice != nil {
		s.announce(j)
		return
	}
	c := choice{p: j.p}
	conflates := j.p.gap == nil && j.p.channel.conflates
	count := uint64(0)
	j.to.mu.Lock()
	for i := range j.to.list {
		sub := &j.to.list[i]
		if sub.flags&behind != 0 {
			s.keep(j, sub)
			continue
		}
		f := c.pick(j.to, sub)
		if f == nil {
			continue
		}
		if f == s.hub.reconnect {
			if sub.out.End(f) {
				s.loop.dirty = append(s.loop.dirty, sub.out)
			}
			continue
		}
		var result socket.Pushed
		if conflates {
			result = sub.out.Offer(f)
		} else {
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
			s.loop.behind[sub.out] = append(s.loop.behind[sub.out], j.to)
			s.keep(j, sub)
			continue
		}
		c.sent(j.to, sub, f)
		j.to.received(sub, j.p)
		count++
	}
	j.to.done(j)
	j.to.filters.forgetLast()
	j.to.mu.Unlock()
	s.delivered.Add(count)
	c.report()
}

// keep holds a publication back for a socket that is behind, in place of an older
// one of the same conflation value.
func (s *shard) keep(j job, sub *subscription) {
	if j.p.gap == nil {
		if !j.p.concerns(j.to, sub) {
			j.to.missed(sub, j.p)
			return
		}
		replaced, tooMany := j.to.postpone(sub, j.p)
		if replaced {
			s.conflated.Add(1)
		}
		if !tooMany {
			return
		}
	}
	// More is missing than can be told in a few words.
	if sub.out.GiveUp(socket.ByQueue) == socket.Overflowed {
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
}

// CatchUp gives a socket that has taken everything what waited for it.
func (s *shard) CatchUp(o *socket.Outbox) {
	channels := s.loop.behind[o]
	rest := channels[:0]
	for _, to := range channels {
		if !s.catchUpOne(o, to) {
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

// catchUpOne reports whether the socket is no longer behind in a channel.
func (s *shard) catchUpOne(o *socket.Outbox, to *subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	e := to.odd[o]
	i, ok := to.index[o]
	if !ok || e == nil || to.list[i].flags&behind == 0 {
		return true
	}
	sub := &to.list[i]
	for n, p := range e.waiting() {
		c := choice{p: p}
		if n == 0 && e.skipped > 0 {
			// Only a socket with an empty outbox comes here: this fits.
			if o.Offer(conflatedFrame(p.channel.name, sub.form.dialect(), e, s.hub.messageID())) == socket.Refused {
				return false
			}
			e.skipped, e.first, e.last = 0, 0, 0
		}
		f := c.frame(to, sub)
		switch o.Offer(f) {
		case socket.Refused:
			return false
		case socket.Dropped:
			return true
		}
		c.sent(to, sub, f)
		c.report()
		to.caughtUp(sub, p)
		s.delivered.Add(1)
		if sub.flags&behind == 0 {
			notices := e.notices
			e.discard()
			return to.tellLate(o, notices)
		}
	}
	return true
}

// tellLate sends what came while the socket was behind in publications. Reports true:
// it is behind no longer, or closed.
func (s *subscribers) tellLate(o *socket.Outbox, notices []*socket.Frame) bool {
	for _, f := range notices {
		if o.Push(f) == socket.Overflowed {
			break
		}
	}
	return true
}

// conflatedFrame tells a socket which publications gave way to newer ones of the
// same conflation value.
func conflatedFrame(channel string, d pusher.Dialect, e *irregular, messageID string) *socket.Frame {
	if d != pusher.V2 {
		messageID = ""
	}
	return controlFrame(d, 128+len(channel), &pusher.Control{
		Event: "conflated", Channel: channel, MessageID: messageID,
		Object: pusher.AppendConflatedData(nil, e.skipped, e.first, e.last),
	})
}
