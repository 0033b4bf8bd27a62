package fanout

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Way leads one subscription through the past of its channel to the position at which it is live. The lock of
// the subscribers guards it, except for atomic fields and where a field says otherwise.
type Way struct {
	Line  *Line
	Shard *Shard
	Out   *socket.Outbox
	// Place is the offset up to which the subscription has been sent everything, in the epoch of the log.
	// Epoch is empty until the subscription is in its list, unless it is resumed.
	Epoch string
	Place uint64
	// until is the offset at which the subscription began, as its client was told. Everything above it
	// belongs to the subscription. then is the offset up to which it was sent that before this way began.
	until, then uint64
	// Head is the offset of the newest publication when the way began.
	Head uint64
	// Most and MostBytes bound what the client may have missed, in publications and in bytes of data. 0 is no
	// bound.
	Most, MostBytes int
	// Kept: the socket gets exactly the frames that it would have got live, because the client keeps its
	// bases. The client has everything up to had. The way goes through that to find out which bases the
	// client holds, and sends nothing of it.
	Kept bool
	had  uint64
	// Salt is the difference of the numbers and the offsets of the client's bases, modulo 2^31; nil if the
	// client does not say.
	Salt *uint32
	// Seen is the id of a publication that the client has. Was is the id of its former socket.
	Seen, Was string
	// Is is the id of the socket. A publication that was read from the log knows only the id of the socket
	// that it excludes.
	Is string
	// Held: nothing is sent before it is known whether the client resumes.
	Held atomic.Bool
	// Cold: the log was read for it.
	Cold bool
	// Latest: the way leads through a snapshot. Fresh: the snapshot has been compared with the log for it.
	// Ending: the publications that it was given last are the last ones of the snapshot. through: these have
	// been sent. If a newer publication arrives before the subscription is live, it has replaced an older
	// one, and the way continues.
	Latest, Fresh, Ending, through bool
	// Failed is why the past is not available. Told: the end of another way tells the client that.
	Failed atomic.Pointer[pusher.ResumeFailure]
	Told   bool
	// Sent counts the publications that were sent, and Live those of them that are newer than Head. met and
	// bytes count what the client had missed of the part that the way has passed.
	Sent, Live, met, bytes int
	// waits is the remaining stretch when the way began to wait for a page. The lock of the past guards it.
	waits stretch
	// judged: a page has shown how much was missed. The lock of the past guards it.
	judged bool
	// doubted: a page shows that the client may have missed more than it may. Nothing is sent until
	// [Way.Foretell].
	doubted  atomic.Bool
	foreseen atomic.Pointer[pusher.ResumeFailure]
	// Last is the id of the last publication that the way has passed.
	Last string
	// notices waited for the socket when the way began.
	notices []*socket.Frame
	// cached is the event of the cache with which the subscription begins, nil once it was sent or the way
	// has passed it.
	cached *Event
	// Asked: the client requested the way, and waits for its end.
	Asked bool
	// before is an Asked way that a resume has replaced. If the resume succeeds, the ends of both ways are
	// told; if it fails, that way continues.
	before *Way
	// Replaced: another resume took the place of this one.
	Replaced bool
	// Ends tells the client how the way ended.
	Ends Ending
	// Instead is the end of the snapshot with which the way continues if it fails, nil for none.
	Instead Ending
}

// Ending makes the frames that a client gets when a subscription has become live. Its methods are called with
// the lock of the subscribers held.
type Ending interface {
	// End returns the frames that the client gets, in this order.
	End(p *Way) []*socket.Frame
	// Abandon is called instead if the subscription has ended, or another way has replaced this one.
	Abandon(p *Way)
}

// Wake lets the shard continue with the way.
func (p *Way) Wake() {
	p.Shard.wake(job{to: &p.Line.Shards[p.Shard.ID], behind: p.Out})
}

// travel starts a way. It replaces a way in progress, or what waits in the queue of the subscription. The
// caller holds the lock, and wakes the shard if the way is not held.
func (s *Subscribers) travel(sub *subscription, p *Way) {
	d, sent := s.detail(sub), s.sentTo(sub)
	if d.past != nil {
		p.follow(d.past)
	}
	p.notices = append(p.notices, d.queue.notices...)
	d.queue.discard()
	if sub.state != catching {
		p.Line.Hall.Catching.Add(1)
	}
	sub.state, d.past = catching, p
	if p.Head = s.last; p.Epoch != "" {
		if p.Epoch == s.epoch {
			p.goneBy(max(p.Place, p.had)) // A resume: the client has what precedes the position.
		}
		return
	}
	p.Epoch, p.until, p.then = s.epoch, s.last, s.last
	if _, ok := p.Ends.(Silently); ok {
		p.Place = s.last
	}
	// Place was found before, so newer events belong to the subscription already. A client that subscribes
	// again must also get what it was not sent since it first subscribed. A snapshot replaces that.
	p.Place = min(p.Place, sent)
}

// follow makes p replace another way. If p is a resume, an Asked way is kept as before; any other old way
// ends.
func (p *Way) follow(old *Way) {
	p.notices, old.notices = old.notices, nil // they are sent once
	if p.cached == nil {
		p.cached = old.cached
	}
	switch {
	case p.Epoch == "":
	case old.Asked:
		p.Line.Past.Leave(old)
		p.before = old
		return
	default:
		p.before, old.before, old.Replaced = old.before, nil, true
	}
	old.quit()
}

// goneBy notes that the client has, or was sent, everything up to an offset, so the event of the cache is not
// sent again.
func (p *Way) goneBy(place uint64) {
	if p.cached != nil && p.cached.Pub.Offset <= place {
		p.cached = nil
	}
}

// comesTo notes that the way has passed a publication.
func (p *Way) comesTo(item *Event) {
	if p.Place = item.Pub.Offset; p.cached != nil && p.cached.Pub.Offset == p.Place {
		p.cached = nil
	}
}

// recalls returns the event of the cache if it must be sent before anything else, because the way begins
// after it; nil otherwise. Whether a snapshot has it shows only from the publication that comes next, see
// [Way.skipsCached].
func (p *Way) recalls() *Event {
	if p.cached == nil || p.cached.Pub.Offset > p.Place && !p.skipsCached(nil) {
		return nil
	}
	return p.cached
}

// skipsCached reports that a snapshot does not have the event of the cache: it has a newer one of that
// conflation value, or does not reach back that far. next is the publication that comes next, nil for none.
func (p *Way) skipsCached(next *Event) bool {
	if p.cached == nil || !p.Latest {
		return false
	}
	return next == nil && p.through || next != nil && p.cached.Pub.Offset < next.Pub.Offset
}

// erase notes that a part of the past was removed, and the new epoch.
func (p *Way) erase(e *erased) {
	for ; p != nil; p = p.before {
		if p.Epoch = e.Epoch; e.has(p.cached) {
			p.cached = nil
		}
	}
}

// recalled returns the frame of an event of the cache for subscriptions of this form. It has no number and no
// id, because the reader's position may be beyond it.
func (p *Event) recalled(form Form) *socket.Frame {
	f := p.Bare(form.Dialect(), form&Delta != 0)
	if form.Dialect() == pusher.Events {
		return socket.NewFrame(f.Payload(), 0)
	}
	return f
}

// arrived reports whether nothing of the past is left.
func (p *Way) arrived(to *Subscribers) bool {
	if p.Latest {
		return p.through
	}
	return p.Place >= to.last
}

// Resume starts the way of a subscription from a position. began is the offset at which the subscription was
// first live. If the client keeps bases, it has seen everything since the offset since in the frames that
// were sent live. Resume reports false if the socket has not subscribed, or if the position has another epoch
// than the subscription.
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
	if keepsBases && p.knowsNumbers() && since <= at && at <= s.last && p.then == p.until && sub.form&Delta != 0 {
		p.Kept, p.had, p.Place = true, at, since
		s.mend(sub)
		sub.since = since
	}
	s.travel(sub, p)
	return true
}

// knowsNumbers reports whether the client's bases have the numbers, and so the texts, that they have on this
// gateway.
func (p *Way) knowsNumbers() bool { return p.Salt == nil || *p.Salt == p.Line.salt.Load() }

// sentTo returns the offset up to which a subscription was sent everything since it began.
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

// Plainly makes a way with kept bases continue with plain frames, after what the client has.
func (p *Way) Plainly() { p.Kept, p.Place = false, max(p.Place, p.had) }

// settle lets a failed way continue, after its client was told. It continues in the epoch with what follows
// own, or with a snapshot (Instead), which leaves out what was sent since the subscription began.
func (p *Way) settle(epoch string, own uint64) {
	if p.Latest {
		p.Line.Past.Leave(p)
	}
	p.Ends, p.Asked, p.Place, p.Epoch, p.Head, p.Latest = Silently{}, false, own, epoch, own, false
	if p.Instead != nil {
		p.Ends, p.Place, p.Latest, p.then = p.Instead, 0, true, own
		p.Fresh, p.Ending, p.through, p.Instead = false, false, false, nil
		p.Sent, p.Live = 0, 0
	}
	p.Failed.Store(nil)
	p.Kept, p.Most, p.MostBytes, p.Seen, p.Was = false, 0, 0, "", ""
}

// quit ends a way before it has arrived.
func (p *Way) quit() {
	p.Line.Past.Leave(p)
	p.Ends.Abandon(p)
	if p.before != nil {
		p.before.quit()
	}
}

// ended returns what the client is told at the end of the way, and of the way that it had replaced.
func (p *Way) ended() []*socket.Frame {
	b := p.before
	if b == nil {
		return p.Ends.End(p)
	}
	p.before = nil
	b.Sent, b.Live = b.Sent+p.Sent, b.Live+p.Live
	f := p.Failed.Load()
	if f == nil {
		return append(b.Ends.End(b), p.Ends.End(p)...)
	}
	// The client is told once why the resume failed, and then that the other way has ended incompletely.
	b.Failed.Store(f)
	b.Told = true
	return append(p.Ends.End(p), b.Ends.End(b)...)
}

// goBack makes a subscription whose resume failed continue with the way that its client requested before. It
// does not get again what the resume has sent, unless that way is a snapshot.
func (s *Subscribers) goBack(sub *subscription, p *Way) {
	b := p.before
	p.before, b.cached = nil, p.cached
	b.notices, p.notices = append(p.notices, b.notices...), nil
	if !b.Latest {
		b.Place, b.Sent, b.Live = max(b.Place, p.Place), b.Sent+p.Sent, b.Live+p.Live
	}
	s.details[sub.out].past = b
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
		p.Line.Past.Leave(p)
		sub.since = max(sub.since, p.Place)
	}
	s.tidy(sub)
}

// concerns reports whether the socket is to get a publication of the past.
func (p *Way) concerns(to *Subscribers, sub *subscription, item *Event) bool {
	return to.concerns(sub, item) && (item.Pub.ExcludeSocket == "" || item.Pub.ExcludeSocket != p.Was && item.Pub.ExcludeSocket != p.Is)
}

// relive notes whether the client's former socket got a publication, to find out which bases the client
// holds.
func (s *Subscribers) relive(sub *subscription, p *Way, item *Event) {
	if p.concerns(s, sub, item) {
		s.received(sub, item)
	} else {
		s.missed(sub, item)
	}
}

// Silently is the ending of a way of which the client is not told.
type Silently struct{}

func (Silently) End(*Way) []*socket.Frame { return nil }
func (Silently) Abandon(*Way)             {}
