package hub

import (
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// deliver gives a job to the shard's subscribers.
func (s *shard) deliver(j job) {
	switch {
	case j.p == nil:
		s.goOn(j)
	case j.p.notice != nil:
		s.announce(j)
	case j.p.gap != nil:
		s.tellGap(j)
	default:
		s.publish(j)
	}
}

// publish puts a publication into the outboxes of those who get it now.
func (s *shard) publish(j job) {
	var sum tally
	count := uint64(0)
	conflates := j.p.channel.conflates
	j.to.mu.Lock()
	for i := range j.to.list {
		sub := &j.to.list[i]
		switch j.to.fate(sub, j.p) {
		case had, met:
			continue
		case spared:
			j.to.missed(sub, j.p)
			continue
		case waits:
			s.keep(j, sub)
			continue
		}
		f, full := j.to.frame(sub, j.p)
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
		if full != nil {
			sum.add(f, full)
			j.to.used(sub)
		}
		j.to.received(sub, j.p)
		count++
	}
	j.to.done(j)
	j.to.filters.forgetLast()
	j.to.mu.Unlock()
	s.delivered.Add(count)
	sum.report(j.p.channel)
}

// keep holds a publication back for a socket that is behind.
func (s *shard) keep(j job, sub *subscription) {
	replaced, tooMany := j.to.fallBehind(sub, j.p)
	if replaced {
		s.conflated.Add(1)
	}
	if tooMany {
		s.giveUp(sub)
	}
}

// giveUp closes a socket to which more is missing than can be told in a few words.
func (s *shard) giveUp(sub *subscription) {
	if sub.out.GiveUp(socket.ByQueue) == socket.Overflowed {
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
}

// tellGap tells everybody that publications are gone.
func (s *shard) tellGap(j job) {
	count := uint64(0)
	j.to.mu.Lock()
	for i := range j.to.list {
		sub := &j.to.list[i]
		f := j.p.gapFrame(sub)
		switch {
		case sub.state == behind:
			s.giveUp(sub)
		case sub.state == catching && s.interrupt(j, sub):
		case f == s.hub.reconnect:
			if sub.out.End(f) {
				s.loop.dirty = append(s.loop.dirty, sub.out)
			}
		default:
			if s.push(sub.out, f) {
				count++
			}
		}
	}
	j.to.done(j)
	j.to.mu.Unlock()
	s.delivered.Add(count)
}

// push queues a frame that the socket gets in any case, and reports whether it took it.
func (s *shard) push(o *socket.Outbox, f *socket.Frame) bool {
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

// CatchUp gives a socket that has taken everything what waited for it. It implements
// [socket.Loop].
func (s *shard) CatchUp(o *socket.Outbox) {
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

// catchUp reports whether the socket is no longer behind in a channel.
func (s *shard) catchUp(o *socket.Outbox, to *subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	i, ok := to.index[o]
	if !ok || to.list[i].state != behind {
		return true
	}
	sub, q := &to.list[i], &to.details[o].queue
	for n, p := range q.inOrder() {
		if n == 0 && q.skipped > 0 {
			// Only a socket with an empty outbox comes here: this fits.
			if o.Offer(conflatedFrame(p.channel.name, sub.form.dialect(), q, s.hub.messageID())) == socket.Refused {
				return false
			}
			q.told()
		}
		f, full := to.frame(sub, p)
		switch o.Offer(f) {
		case socket.Refused:
			return false
		case socket.Dropped:
			return true
		}
		if full != nil {
			var one tally
			one.add(f, full)
			one.report(p.channel)
			to.used(sub)
		}
		s.delivered.Add(1)
		for _, f := range to.caughtUp(sub, p) {
			if o.Push(f) == socket.Overflowed {
				break
			}
		}
	}
	return true
}

// conflatedFrame tells a socket which publications gave way to newer ones of the
// same conflation value.
func conflatedFrame(channel string, d pusher.Dialect, q *queue, messageID string) *socket.Frame {
	if d != pusher.V2 {
		messageID = ""
	}
	return controlFrame(d, 128+len(channel), &pusher.Control{
		Event: "conflated", Channel: channel, MessageID: messageID,
		Object: pusher.AppendConflatedData(nil, q.skipped, q.first, q.last),
	})
}
