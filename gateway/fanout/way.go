package fanout

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
	// lookCost is what a publication counts besides, also one that is not for the socket.
	lookCost = 64
)

// Way is the way of one subscription through the past of its channel to the place at which
// it is live. It belongs to the lock of the subscribers, except for Failed and Held.
type Way struct {
	Line  *Line
	Shard *Shard
	Out   *socket.Outbox
	// Place is how far it is, in the life of the log named epoch.
	Epoch string
	Place uint64
	// until is where the subscription began, of which the client was told; what lies above
	// it is its own. Of that it has had everything up to then.
	until, then uint64
	// Head is the newest publication when it began.
	Head uint64
	// Most bounds what lies between, in publications and in bytes of data; 0 is no bound.
	Most, MostBytes int
	// Kept: the socket gets the very frames that it would have got live. What lies at had
	// or below it got before; it is gone through to know which bases it holds.
	Kept bool
	had  uint64
	// Seen is the id of a publication that it has, and Was the id of the socket that it
	// was before.
	Seen, Was string
	// Held: nothing is sent before it is known what the client wants.
	Held atomic.Bool
	// Cold: the log was read for it.
	Cold bool
	// Latest: it goes through the newest publications of all conflation values, once these
	// are fresh, to their end. The last of them may be on their way to the shard: they have
	// taken the place of what was before them.
	Latest, Fresh, Ending, through bool
	// Failed is why the past cannot be had.
	Failed atomic.Pointer[pusher.ResumeFailure]
	// Sent counts what was sent of the past and Live what was published meanwhile; met and
	// bytes what lay between.
	Sent, Live, met, bytes int
	// Last is the id of the last publication that was passed.
	Last string
	// notices waited for the socket when the way began.
	notices []*socket.Frame
	// Ends tells the client how it ended.
	Ends Ending
}

// Ending is what a client gets when a subscription has become live. It is called by the
// shard, with the lock of the subscribers.
type Ending interface {
	// End returns the frames that the client gets, in this order.
	End(p *Way) []*socket.Frame
	// Abandon is called instead when the subscription has ended.
	Abandon(p *Way)
}

// Wake lets the shard go on with it.
func (p *Way) Wake() {
	p.Shard.wake(job{to: &p.Line.Shards[p.Shard.ID], behind: p.Out})
}

// travel sets a subscription on its way through the past. The caller holds the lock, and wakes
// the shard if the way is not held.
func (s *Subscribers) travel(sub *subscription, p *Way) {
	d := s.detail(sub)
	if d.past != nil {
		p.notices = d.past.notices
		d.past.quit()
	}
	p.notices = append(p.notices, d.queue.notices...)
	d.queue.discard()
	if sub.state != catching {
		p.Line.Hall.Catching.Add(1)
	}
	sub.state, d.past = catching, p
	if p.Head = s.last; p.Epoch != "" {
		return // It is resumed.
	}
	p.Epoch, p.until, p.then = s.epoch, s.last, s.last
	if _, ok := p.Ends.(Silently); ok {
		p.Place = s.last
	}
	// What it may get of the past was found out before: newer events are its own already.
	p.Place = min(p.Place, s.last)
}

// arrived reports whether nothing of the past is left.
func (p *Way) arrived(to *Subscribers) bool {
	if p.Latest {
		return p.through
	}
	return p.Place >= to.last
}

// Resume sends a subscription, which was live first at began, on its way from a position. If
// its client keeps bases, it has seen everything from since on in the frames that it had
// live. It reports false for a socket that has not subscribed, and for a position of another
// life than that of the subscription.
func (s *Subscribers) Resume(p *Way, began, since uint64, keepsBases bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[p.Out]
	if !ok || p.Epoch != s.epoch {
		return false
	}
	sub, at := &s.list[i], p.Place
	p.until, p.then = began, max(began, s.sentTo(sub))
	if at >= p.then {
		sub.since = max(sub.since, at)
	}
	if keepsBases && since <= at && at <= s.last && p.then == p.until && sub.form&Delta != 0 {
		p.Kept, p.had, p.Place = true, at, since
		s.mend(sub)
		sub.since = since
	}
	s.travel(sub, p)
	return true
}

// sentTo is the place up to which a subscription was sent everything since it began.
func (s *Subscribers) sentTo(sub *subscription) uint64 {
	switch sub.state {
	case behind:
		return s.details[sub.out].queue.before()
	case catching:
		p := s.details[sub.out].past
		if p.Latest {
			return p.then
		}
		return max(p.then, p.Place)
	}
	return s.last
}

// Plainly has a way with kept bases go on with plain frames, above what the socket has.
func (p *Way) Plainly() { p.Kept, p.Place = false, max(p.Place, p.had) }

// quit ends a way before its end.
func (p *Way) quit() {
	p.Line.Past.Leave(p)
	p.Ends.Abandon(p)
}

// arrive makes a subscription live.
func (s *Subscribers) arrive(sub *subscription, p *Way) {
	s.details[sub.out].past = nil
	sub.state = live
	p.Line.Hall.Catching.Add(-1)
	if !p.Kept {
		s.mend(sub)
		sub.since = max(sub.since, s.last)
	}
	if p.Latest {
		sub.since = max(sub.since, p.Place)
	}
	s.tidy(sub)
}

// goOn is told that somebody who was waiting for the past need not wait any longer.
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

// await has the shard look at a socket when it has taken what it was sent.
func (s *Shard) await(o *socket.Outbox, to *Subscribers) {
	if !slices.Contains(s.loop.behind[o], to) {
		s.loop.behind[o] = append(s.loop.behind[o], to)
	}
	if o.Await() == socket.Wakes {
		s.loop.dirty = append(s.loop.dirty, o)
	}
}

// feed sends a part of the past. It reports whether nothing is left to be sent for now.
func (s *Shard) feed(o *socket.Outbox, to *Subscribers) bool {
	to.mu.Lock()
	defer to.mu.Unlock()
	i, ok := to.index[o]
	if !ok || to.list[i].state != catching {
		return true
	}
	sub, p := &to.list[i], to.details[o].past
	if p.Held.Load() {
		return true
	}
	s.Tell(o, p.notices)
	p.notices = nil
	budget := min(pastBytes, s.loop.past)
	for range pastFrames {
		if p.Failed.Load() != nil || p.arrived(to) {
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
		if p.then > p.until && item.Pub.Offset > p.until && item.Pub.Offset <= p.then {
			p.Place = item.Pub.Offset
			continue
		}
		if item.reread {
			// It may have been a base, and travels plain now.
			p.Kept = false
		}
		if item.Pub.Offset <= p.had {
			to.relive(sub, p, item)
			p.Place = item.Pub.Offset
			continue
		}
		if !p.allows(item) {
			p.Failed.Store(p.TooMuch())
			return n + 1, false, false
		}
		size, full := s.replay(to, sub, p, item)
		if full {
			return n, false, true
		}
		n += size
		p.Place = item.Pub.Offset
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
		if p.Kept {
			to.missed(sub, item)
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
	switch sub.out.Trickle(f) {
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
	to.reached(sub, item)
	if p.Sent++; item.Pub.Offset > p.Head {
		p.Live++
	}
	s.Delivered.Add(1)
	s.hall.Replayed(p.Line.App, len(f.Payload()))
	return len(f.Bytes()), false
}

// concerns tells whether the socket is meant to get a publication of the past.
func (p *Way) concerns(to *Subscribers, sub *subscription, item *Event) bool {
	return to.concerns(sub, item) && (p.Was == "" || item.Pub.ExcludeSocket != p.Was)
}

// relive notes what became of a publication that the socket that this one was before met.
func (s *Subscribers) relive(sub *subscription, p *Way, item *Event) {
	if p.concerns(s, sub, item) {
		s.received(sub, item)
	} else {
		s.missed(sub, item)
	}
}

// allows counts a publication of what the client missed, and reports false when that is
// more than it may have missed.
func (p *Way) allows(item *Event) bool {
	if item.Pub.Offset > p.until {
		return true
	}
	p.met++
	p.bytes += len(item.Pub.Data)
	return !p.beyond(p.met, p.bytes)
}

// Foresee tells of somebody who waits whether more lies on his way than he may have missed,
// as far as a page shows.
func (p *Way) Foresee(page []*Event) bool {
	met, bytes := p.met, p.bytes
	for _, item := range page {
		if at := item.Pub.Offset; at > max(p.Place, p.had) && at <= p.until {
			met++
			bytes += len(item.Pub.Data)
		}
	}
	return p.beyond(met, bytes)
}

func (p *Way) beyond(items, bytes int) bool {
	return p.Most > 0 && items > p.Most || p.MostBytes > 0 && bytes > p.MostBytes
}

// TooMuch is the failure of a way on which more lies than the client may have missed.
func (p *Way) TooMuch() *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: p.Line.Name, Code: pusher.PositionExpired, Newest: p.Head}
	f.Reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", p.Most, p.MostBytes)
	f.Expected, f.Current = p.Epoch, p.Epoch
	return f
}

// end makes a subscription live, and tells the client how its way ended.
func (s *Shard) end(to *Subscribers, sub *subscription, p *Way) bool {
	f := p.Failed.Load()
	if f == nil {
		s.Tell(sub.out, p.Ends.End(p))
		to.arrive(sub, p)
		return true
	}
	own := max(p.until, p.then)
	if !p.Latest && p.Place >= own {
		s.lose(to, sub, p, f)
		return true
	}
	// What it has missed it cannot have; what was published since it subscribed it can.
	if p.Latest {
		own = max(own, p.Place)
	}
	to.moved(sub, to.epoch, own)
	s.Tell(sub.out, p.Ends.End(p))
	p.Ends, p.Place = Silently{}, own
	p.Failed.Store(nil)
	p.Latest, p.Kept, p.Most, p.MostBytes, p.Seen, p.Was = false, false, 0, 0, "", ""
	s.loop.later = append(s.loop.later, job{to: to, behind: sub.out})
	return true
}

// lose makes a subscription live of whose own events some cannot be had, as a gap does.
func (s *Shard) lose(to *Subscribers, sub *subscription, p *Way, f *pusher.ResumeFailure) {
	to.moved(sub, to.epoch, to.last)
	frames := p.Ends.End(p)
	if _, ok := p.Ends.(Silently); ok {
		frames = []*socket.Frame{FailureFrame(sub.form.Dialect(), f, s.hall.MessageID(), to.places[sub.out].Text())}
	}
	if sub.form.Dialect() != pusher.V1 {
		s.Tell(sub.out, frames)
	} else if sub.out.End(s.hall.Reconnect) {
		s.loop.dirty = append(s.loop.dirty, sub.out)
	}
	p.Kept = false
	to.arrive(sub, p)
}

// interrupt ends the way of a subscription at a gap, and reports whether the client was told
// of it so. The caller holds the lock.
func (s *Shard) interrupt(g *gap, to *Subscribers, sub *subscription) bool {
	p := to.details[sub.out].past
	p.Failed.Store(gapFailure(p.Line.Name, &g.Gap))
	to.moved(sub, g.Resume.Epoch, g.Resume.Offset)
	frames := p.Ends.End(p)
	s.Tell(sub.out, frames)
	p.Kept = false
	p.Line.Past.Leave(p)
	to.arrive(sub, p)
	return len(frames) > 0
}

// Tell sends frames that must come now. Only the shard's goroutine calls it.
func (s *Shard) Tell(o *socket.Outbox, frames []*socket.Frame) {
	for _, f := range frames {
		s.push(o, f)
	}
}

// Silently is the ending of a way that nobody has to hear of.
type Silently struct{}

func (Silently) End(*Way) []*socket.Frame { return nil }
func (Silently) Abandon(*Way)             {}
