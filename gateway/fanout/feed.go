package fanout

import (
	"slices"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

const (
	// pastFrames and pastBytes bound what one socket is sent of the past before others have their turn.
	// roundPast bounds what all sockets of a shard are sent of the past in one round, in bytes, because live
	// publications wait for the end of the round.
	pastFrames = 64
	pastBytes  = 64 << 10
	roundPast  = 512 << 10
	// lookCost is what a publication of the past counts in addition to its frame, also if it is not for the
	// socket.
	lookCost = 64
)

// goOn handles a job without a publication: it calls a function, or makes the shard look at a subscription
// that waited for the past.
func (s *Shard) goOn(j job) {
	if j.then != nil {
		j.then()
		return
	}
	j.to.mu.Lock()
	i, ok := j.to.index[j.behind]
	catches := ok && j.to.list[i].state == catching
	j.to.mu.Unlock()
	if catches {
		s.await(j.behind, j.to)
	}
}

// await makes the shard look at a subscription once its socket has taken what was queued.
func (s *Shard) await(o *socket.Outbox, to *Subscribers) {
	if !slices.Contains(s.loop.behind[o], to) {
		s.loop.behind[o] = append(s.loop.behind[o], to)
	}
	if o.Await() == socket.Wakes {
		s.loop.dirty = append(s.loop.dirty, o)
	}
}

// feed sends a part of the past to one subscription. It reports false if the socket takes no more now and the
// shard must return to it later.
func (s *Shard) feed(o *socket.Outbox, to *Subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	i, ok := to.index[o]
	if !ok || to.list[i].state != catching {
		return true
	}
	sub, p := &to.list[i], to.details[o].past
	if p.Held.Load() || p.doubted.Load() {
		return true
	}
	s.Tell(o, p.notices)
	p.notices = nil
	p.meets()
	budget := min(pastBytes, s.loop.past)
	for range pastFrames {
		failed := p.Failed.Load() != nil
		if !failed && p.recalls() != nil && s.recall(to, sub, p) {
			return false
		}
		if failed || p.arrived(to) {
			return s.end(to, sub, p)
		}
		if budget <= 0 {
			break
		}
		n, wait, refused := s.step(to, sub, p, budget)
		if !p.Latest {
			p.goneBy(p.Place)
		}
		budget -= n
		s.loop.past -= n
		switch {
		case wait: // the reader of the log wakes the way
			return true
		case refused:
			return false
		}
	}
	p.through = false // publications from now until the next turn belong to it as well
	s.loop.later = append(s.loop.later, job{to: to, behind: o})
	return true
}

// recall sends the event of the cache if the way will not come to it. refused says that the socket takes no
// more.
func (s *Shard) recall(to *Subscribers, sub *subscription, p *Way) (refused bool) {
	item := p.cached
	if !to.filters.passes(sub.filter, item) {
		p.cached = nil
		return false
	}
	switch sub.out.Trickle(item.recalled(sub.form)) {
	case socket.Refused:
		return true
	case socket.Wakes:
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
	p.cached = nil
	return false
}

// step sends the next few publications and returns their bytes. wait says that the log must be read first,
// refused that the socket takes no more.
func (s *Shard) step(to *Subscribers, sub *subscription, p *Way, budget int) (n int, wait, refused bool) {
	if p.then > p.until && p.Place >= p.until {
		p.Place = max(p.Place, p.then)
	}
	var room [16]*Event
	items, reached, ok := p.Line.Past.Next(room[:0], p, len(room))
	if !ok {
		return 0, true, false
	}
	for _, item := range items {
		if n > budget {
			return n, false, false
		}
		n += lookCost
		if item.Pub.Offset > to.last && !p.Latest {
			break
		}
		if p.skipsCached(item) && s.recall(to, sub, p) {
			return n, false, true
		}
		if p.then > p.until && item.Pub.Offset > p.until && item.Pub.Offset <= p.then {
			p.comesTo(item)
			continue
		}
		if item.reread {
			// It may have been a base, and is now sent plain, so the client's bases are not known any more.
			p.Kept = false
		}
		if item.Pub.Offset <= p.had {
			to.relive(sub, p, item)
			p.Place = item.Pub.Offset
			continue
		}
		if !p.allows(item) {
			far := p.left()
			p.Failed.Store(far.tooMuch(p.Line.Name))
			return n + 1, false, false
		}
		size, full := s.replay(to, sub, p, item)
		if full {
			return n, false, true
		}
		n += size
		p.passes(item)
		p.comesTo(item)
		p.Last = item.Pub.ID()
	}
	if p.through = p.Ending; !p.Latest {
		reached = min(reached, to.last)
	}
	p.Place = max(p.Place, reached)
	return n + 1, false, false
}

// replay sends one publication of the past, if it is for the socket.
func (s *Shard) replay(to *Subscribers, sub *subscription, p *Way, item *Event) (n int, refused bool) {
	if !p.concerns(to, sub, item) {
		if p.Kept || sub.marks&placed != 0 {
			s.spare(to, sub, item)
		}
		return 0, false
	}
	if p.Seen != "" && item.Pub.ID() == p.Seen {
		return 0, false
	}
	var f, full *socket.Frame
	if p.Kept {
		f, full = to.frame(sub, item)
	} else {
		f = to.plain(sub, item)
	}
	switch to.hand(sub, item, f, (*socket.Outbox).Trickle) {
	case socket.Refused:
		return 0, true
	case socket.Dropped:
		return 0, false
	case socket.Wakes:
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
	if full != nil {
		var one Tally
		one.add(f, full)
		p.Line.sent(&one)
		to.used(sub)
	}
	if p.Kept {
		to.received(sub, item)
	}
	if p.Sent++; item.Pub.Offset > p.Head {
		p.Live++
	}
	s.Delivered.Add(1)
	s.hall.Replayed(p.Line.App, len(f.Payload()))
	return len(f.Bytes()), false
}

// end makes a subscription live, or lets it continue after a failure, and tells the client how its way ended.
func (s *Shard) end(to *Subscribers, sub *subscription, p *Way) bool {
	f := p.Failed.Load()
	if f == nil {
		s.tell(to, sub, &pusher.Place{Stream: to.epoch, Serial: max(to.last, p.Place)}, p.ended()...)
		to.arrive(sub, p)
		return true
	}
	own := max(p.until, p.then)
	if !p.Latest && p.Instead == nil && p.Place >= own {
		s.lose(to, sub, p, f)
		return true
	}
	if p.before != nil {
		s.tell(to, sub, nil, p.Ends.End(p)...)
		to.goBack(sub, p)
		s.loop.later = append(s.loop.later, job{to: to, behind: sub.out})
		return true
	}
	// The client cannot have what it missed, but it can have what was published since it subscribed.
	if p.Latest || p.Instead != nil && p.Epoch == to.epoch {
		own = max(own, p.Place)
	}
	// With a snapshot, the reader keeps its old position, so that it gets another snapshot if it is
	// disconnected before the end of this one.
	var at *pusher.Place
	if p.Instead == nil {
		at = &pusher.Place{Stream: to.epoch, Serial: own}
	}
	s.tell(to, sub, at, p.Ends.End(p)...)
	p.settle(to.epoch, own)
	s.loop.later = append(s.loop.later, job{to: to, behind: sub.out})
	return true
}

// lose makes a subscription live that cannot have all events since it began. The client is told as with a
// gap.
func (s *Shard) lose(to *Subscribers, sub *subscription, p *Way, f *pusher.ResumeFailure) {
	frames := p.ended()
	if _, ok := p.Ends.(Silently); ok {
		frames = []*socket.Frame{FailureFrame(sub.form.Dialect(), f, s.hall.MessageID())}
	}
	if sub.form.Dialect() != pusher.V1 {
		s.tell(to, sub, &pusher.Place{Stream: to.epoch, Serial: to.last}, frames...)
	} else if sub.out.End(s.hall.Reconnect) {
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
	p.Kept = false
	to.arrive(sub, p)
}

// interrupt ends the way of a subscription because of a gap. The subscription is then live, or continues with
// a snapshot of what follows the gap. It reports whether the end of the way told the client of the gap. The
// caller holds the lock.
func (s *Shard) interrupt(g *gap, to *Subscribers, sub *subscription) bool {
	p := to.details[sub.out].past
	p.Failed.Store(gapFailure(p.Line.Name, &g.Gap))
	frames := p.ended()
	var at *pusher.Place
	if p.Instead == nil && len(frames) > 0 { // otherwise the caller sends the gap
		at = &pusher.Place{Stream: g.Resume.Epoch, Serial: g.Resume.Offset}
	}
	s.tell(to, sub, at, frames...)
	p.Kept = false
	p.Line.Past.Leave(p)
	if g.After.Epoch != g.Resume.Epoch {
		p.cached = nil
	}
	if p.Instead == nil {
		if p.cached != nil && to.filters.passes(sub.filter, p.cached) {
			s.push(sub.out, p.cached.recalled(sub.form))
		}
		to.arrive(sub, p)
		return len(frames) > 0
	}
	p.until = g.Resume.Offset
	p.settle(g.Resume.Epoch, g.Resume.Offset)
	s.loop.later = append(s.loop.later, job{to: to, behind: sub.out})
	return len(frames) > 0
}

// Tell queues frames that change no position, and reports whether the socket took them. Only the goroutine
// that runs a round of the shard calls it.
func (s *Shard) Tell(o *socket.Outbox, frames []*socket.Frame) bool {
	ok := true
	for _, f := range frames {
		ok = s.push(o, f) && ok
	}
	return ok
}
