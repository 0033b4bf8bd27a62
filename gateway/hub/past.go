package hub

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

const (
	// pastFrames and pastBytes bound what one socket is sent of the past before others have
	// their turn, and roundPast what all of a shard are in one round, in bytes: the live
	// path has to wait for no more than that.
	pastFrames = 64
	pastBytes  = 64 << 10
	roundPast  = 512 << 10
)

// past is the way of one subscription through the past of its channel to the place at which
// it is live. It belongs to the lock of the subscribers, except for failed and held.
type past struct {
	line  *line
	shard *shard
	out   *socket.Outbox
	// place is how far it is, in the life of the log named epoch.
	epoch string
	place uint64
	// What lies above until up to then it has had already.
	until, then uint64
	// head is the newest publication when it began.
	head uint64
	// most bounds what lies between, in publications and in bytes of data; 0 is no bound.
	most, mostBytes int
	// kept: the socket gets the very frames that it would have got live. What lies at had
	// or below it got before; it is gone through to know which bases it holds.
	kept bool
	had  uint64
	// seen is the id of a publication that it has, and was the id of the socket that it
	// was before.
	seen, was string
	// held: nothing is sent before it is known what the client wants.
	held atomic.Bool
	// cold: the log was read for it.
	cold bool
	// latest: it goes through the newest publications of all conflation values, once these
	// are fresh, to their end. The last of them may be on their way to the shard: they have
	// taken the place of what was before them.
	latest, fresh, ending, through bool
	// failed is why the past cannot be had.
	failed atomic.Pointer[pusher.ResumeFailure]
	// sent counts what was sent of the past and live what was published meanwhile; met and
	// bytes what lay between.
	sent, live, met, bytes int
	// last is the id of the last publication that was passed.
	last string
	// ends tells the client how it ended.
	ends ending
}

// ending is what a client gets when a subscription has become live. It is called by the
// shard, with the lock of the subscribers.
type ending interface {
	// end returns the frames that the client gets, in this order.
	end(p *past) []*socket.Frame
	// abandon is called instead when the subscription has ended.
	abandon(p *past)
}

// wake lets the shard go on with it.
func (p *past) wake() {
	p.shard.post(job{to: &p.line.shards[p.shard.id], behind: p.out})
}

// travel sets a subscription on its way through the past. The caller holds the lock, and wakes
// the shard if the way is not held.
func (s *subscribers) travel(sub *subscription, p *past) {
	d := s.detail(sub)
	if d.past != nil {
		d.past.quit()
	}
	d.queue.discard()
	if sub.state != catching {
		p.line.hall.catching.Add(1)
	}
	sub.state, d.past = catching, p
	if p.held.Load() && !p.latest {
		p.place = s.last
	}
	if p.head == 0 {
		p.head = s.last
	}
}

// arrived reports whether nothing of the past is left.
func (p *past) arrived(to *subscribers) bool {
	if p.latest {
		return p.through
	}
	return p.place >= to.last
}

// resume sends a subscription, which was live first at began, on its way from a position. If
// its client keeps bases, it has seen everything from since on in the frames that it had
// live. It reports false for a socket that has not subscribed.
func (s *subscribers) resume(p *past, began, since uint64, keepsBases bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[p.out]
	if !ok {
		return false
	}
	sub, at := &s.list[i], p.place
	p.until, p.then = began, s.last
	if sub.state == catching {
		// Of what came since, nothing was sent.
		if p.then = s.details[sub.out].past.place; s.details[sub.out].past.latest {
			p.then = began
		}
	}
	if at >= p.then {
		sub.since = max(sub.since, at)
	}
	if keepsBases && since <= at && p.then == p.until && sub.form&formDelta != 0 {
		p.kept, p.had, p.place = true, at, since
		s.mend(sub)
		sub.since = since
	}
	s.travel(sub, p)
	return true
}

// quit ends a way before its end.
func (p *past) quit() {
	p.line.past.leave(p)
	p.ends.abandon(p)
}

// arrive makes a subscription live.
func (s *subscribers) arrive(sub *subscription, p *past) {
	s.details[sub.out].past = nil
	sub.state = live
	p.line.hall.catching.Add(-1)
	if !p.kept {
		s.mend(sub)
		sub.since = max(sub.since, s.last)
	}
	if p.latest {
		sub.since = max(sub.since, p.place)
	}
	s.tidy(sub)
}

// goOn is told that somebody who was waiting for the past need not wait any longer.
func (s *shard) goOn(j job) {
	j.to.mu.Lock()
	i, ok := j.to.index[j.behind]
	catches := ok && j.to.list[i].state == catching
	j.to.mu.Unlock()
	if catches {
		s.await(j.behind, j.to)
	}
}

// await has the shard look at a socket when it has taken what it was sent.
func (s *shard) await(o *socket.Outbox, to *subscribers) {
	if !slices.Contains(s.loop.behind[o], to) {
		s.loop.behind[o] = append(s.loop.behind[o], to)
	}
	if o.Await() == socket.Wakes {
		s.loop.dirty = append(s.loop.dirty, o)
	}
}

// feed sends a part of the past. It reports whether nothing is left to be sent for now.
func (s *shard) feed(o *socket.Outbox, to *subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	i, ok := to.index[o]
	if !ok || to.list[i].state != catching {
		return true
	}
	sub, p := &to.list[i], to.details[o].past
	if p.held.Load() {
		return true
	}
	budget := min(pastBytes, s.loop.past)
	for range pastFrames {
		if p.failed.Load() != nil || p.arrived(to) {
			return s.end(to, sub, p)
		}
		if budget <= 0 {
			break
		}
		n, wait, refused := s.step(to, sub, p, budget)
		budget -= n
		s.loop.past -= n
		switch {
		case wait: // Somebody wakes us.
			return true
		case refused:
			return false
		}
	}
	s.loop.later = append(s.loop.later, job{to: to, behind: o})
	return true
}

// step sends the next few publications and returns their bytes. wait says that the log must
// be read first, refused that the socket has enough.
func (s *shard) step(to *subscribers, sub *subscription, p *past, budget int) (n int, wait, refused bool) {
	if p.then > p.until && p.place >= p.until {
		p.place = max(p.place, p.then)
	}
	var room [16]*event
	items, reached, ok := p.line.past.next(room[:0], p, len(room))
	if !ok {
		return 0, true, false
	}
	for _, item := range items {
		if n > budget {
			return n, false, false
		}
		if item.pub.Offset > to.last && !p.latest {
			break
		}
		if p.then > p.until && item.pub.Offset > p.until && item.pub.Offset <= p.then {
			p.place = item.pub.Offset
			continue
		}
		if item.reread {
			// It may have been a base, and travels plain now.
			p.kept = false
		}
		if item.pub.Offset <= p.had {
			to.relive(sub, p, item)
			p.place = item.pub.Offset
			continue
		}
		if !p.allows(item) {
			p.failed.Store(p.tooMuch())
			return n + 1, false, false
		}
		size, full := s.replay(to, sub, p, item)
		if full {
			return n, false, true
		}
		n += size
		p.place = item.pub.Offset
		p.last = item.pub.ID()
	}
	if p.through = p.ending; !p.latest {
		reached = min(reached, to.last)
	}
	p.place = max(p.place, reached)
	return n + 1, false, false
}

// replay sends one publication of the past, if it is for the socket.
func (s *shard) replay(to *subscribers, sub *subscription, p *past, item *event) (n int, refused bool) {
	if !p.concerns(to, sub, item) {
		if p.kept {
			to.missed(sub, item)
		}
		return 0, false
	}
	if p.seen != "" && item.pub.ID() == p.seen {
		return 0, false
	}
	var f, full *socket.Frame
	if p.kept {
		f, full = to.frame(sub, item)
	} else {
		f = item.bare(sub.form.dialect(), sub.form&formDelta != 0)
	}
	switch sub.out.Trickle(f) {
	case socket.Refused:
		return 0, true
	case socket.Dropped:
		return 0, false
	case socket.Wakes:
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
	if full != nil {
		var one tally
		one.add(f, full)
		p.line.sent(&one)
		to.used(sub)
	}
	if p.kept {
		to.received(sub, item)
	}
	if p.sent++; item.pub.Offset > p.head {
		p.live++
	}
	s.delivered.Add(1)
	s.hall.replayed(p.line.app, len(f.Payload()))
	return len(f.Bytes()), false
}

// concerns tells whether the socket is meant to get a publication of the past.
func (p *past) concerns(to *subscribers, sub *subscription, item *event) bool {
	return to.concerns(sub, item) && (p.was == "" || item.pub.ExcludeSocket != p.was)
}

// relive notes what became of a publication that the socket that this one was before met.
func (s *subscribers) relive(sub *subscription, p *past, item *event) {
	if p.concerns(s, sub, item) {
		s.received(sub, item)
	} else {
		s.missed(sub, item)
	}
}

// allows counts a publication of what the client missed, and reports false when that is
// more than it may have missed.
func (p *past) allows(item *event) bool {
	if item.pub.Offset > p.head {
		return true
	}
	p.met++
	p.bytes += len(item.pub.Data)
	return !p.beyond(p.met, p.bytes)
}

// foresee tells of somebody who waits whether more lies on his way than he may have missed,
// as far as a page shows.
func (p *past) foresee(page []*event) bool {
	met, bytes := p.met, p.bytes
	for _, item := range page {
		if at := item.pub.Offset; at > max(p.place, p.had) && at <= p.head {
			met++
			bytes += len(item.pub.Data)
		}
	}
	return p.beyond(met, bytes)
}

func (p *past) beyond(items, bytes int) bool {
	return p.most > 0 && items > p.most || p.mostBytes > 0 && bytes > p.mostBytes
}

// tooMuch is the failure of a way on which more lies than the client may have missed.
func (p *past) tooMuch() *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: p.line.name, Code: pusher.PositionExpired, Newest: p.head}
	f.Reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", p.most, p.mostBytes)
	f.Expected, f.Current = p.epoch, p.epoch
	return f
}

// end makes a subscription live, and tells the client how its way ended.
func (s *shard) end(to *subscribers, sub *subscription, p *past) bool {
	if f := p.failed.Load(); f != nil {
		// What it has missed it cannot have; what was published since it subscribed it can.
		next := max(p.until, p.then)
		s.tell(sub.out, p.ends.end(p))
		p.ends = silently{}
		p.failed.Store(nil)
		p.kept, p.most, p.mostBytes, p.seen, p.was = false, 0, 0, "", ""
		if p.place = next; p.place < to.last {
			s.loop.later = append(s.loop.later, job{to: to, behind: sub.out})
			return true
		}
	} else {
		s.tell(sub.out, p.ends.end(p))
	}
	to.arrive(sub, p)
	return true
}

// interrupt ends the way of a subscription at a gap, and reports whether the client was told
// of it so. The caller holds the lock.
func (s *shard) interrupt(g *gap, to *subscribers, sub *subscription) bool {
	p := to.details[sub.out].past
	p.failed.Store(gapFailure(p.line.name, &g.Gap))
	frames := p.ends.end(p)
	s.tell(sub.out, frames)
	p.kept = false
	to.arrive(sub, p)
	return len(frames) > 0
}

// tell sends frames that must come now.
func (s *shard) tell(o *socket.Outbox, frames []*socket.Frame) {
	for _, f := range frames {
		s.push(o, f)
	}
}

// silently is the ending of a way that nobody has to hear of.
type silently struct{}

func (silently) end(*past) []*socket.Frame { return nil }
func (silently) abandon(*past)             {}
