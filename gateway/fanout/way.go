package fanout

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Way is the way of one subscription through the past of its channel to the place at which
// it is live. The lock of the subscribers guards it, except for Failed, Held and what says otherwise.
type Way struct {
	Line  *Line
	Shard *Shard
	Out   *socket.Outbox
	// Place is the offset up to which the subscription has been sent everything, in the life of the log
	// that Epoch names. Epoch is empty until the subscription is in its list, unless it is resumed.
	Epoch string
	Place uint64
	// until is the offset at which the subscription began, as its client was told. What lies above it is
	// the subscription's own. then is the offset up to which it was sent its own before this way began.
	until, then uint64
	// Head is the newest publication when it began, in the life that Epoch names.
	Head uint64
	// Most and MostBytes bound what its client may have missed, in publications and in bytes of data. 0 is
	// no bound.
	Most, MostBytes int
	// Kept: the socket gets the very frames that it would have got live, because it keeps its bases. Its
	// client has what lies at had or below. The way goes through that to find out which bases it holds,
	// and sends nothing of it.
	Kept bool
	had  uint64
	// Salt is by how much the numbers of its bases are above their offsets, modulo 2^31, as its client
	// says; nil if it does not say.
	Salt *uint32
	// Seen is the id of a publication that the client has. Was is the id of the socket that it was
	// before.
	Seen, Was string
	// Is is the id of the socket. A publication that was read from the log does not know the socket that it
	// excludes, only the id.
	Is string
	// Held: nothing is sent before it is known what the client wants.
	Held atomic.Bool
	// Cold: the log was read for it.
	Cold bool
	// Latest: it is the way through a snapshot. Fresh: the snapshot has been compared with the log for it.
	// Ending: the publications that it was given last are the last ones of the snapshot. through: it has
	// sent these. If a newer one comes before it is live, that has taken the place of an older one, and it
	// goes on.
	Latest, Fresh, Ending, through bool
	// Failed is why the past cannot be had. Told: the end of another way tells the client that.
	Failed atomic.Pointer[pusher.ResumeFailure]
	Told   bool
	// Sent counts the publications that were sent, and Live those of them that are newer than Head. met and
	// bytes count what its client had missed, as far as it is behind the way.
	Sent, Live, met, bytes int
	// waits is the stretch before it when it began to wait for a page. The lock of the past guards it.
	waits stretch
	// judged: a page told what lies on it. The lock of the past guards it.
	judged bool
	// doubted: a page shows that the client may have missed more than it may, and nothing is sent until
	// foreseen says so.
	doubted  atomic.Bool
	foreseen atomic.Pointer[pusher.ResumeFailure]
	// Last is the id of the last publication that was passed.
	Last string
	// notices waited for the socket when the way began.
	notices []*socket.Frame
	// cached is the event of the cache with which the subscription begins, nil once it was sent or the way
	// has passed it.
	cached *Event
	// Asked: the client asked for it, and waits for its end.
	Asked bool
	// before is such a way, of which a resume took the place. If the resume succeeds, the end of that way is
	// told with its own; if it fails, that way goes on.
	before *Way
	// Replaced: another way that begins at a position took its place.
	Replaced bool
	// Ends tells the client how it ended.
	Ends Ending
	// Instead is the end of the snapshot with which it goes on if it fails, nil for none.
	Instead Ending
}

// Ending is what a client gets when a subscription has become live. It is called by the
// shard, with the lock of the subscribers.
type Ending interface {
	// End returns the frames that the client gets, in this order.
	End(p *Way) []*socket.Frame
	// Abandon is called instead when the subscription has ended, or another way took the place of
	// this one.
	Abandon(p *Way)
}

// Wake lets the shard go on with it.
func (p *Way) Wake() {
	p.Shard.wake(job{to: &p.Line.Shards[p.Shard.ID], behind: p.Out})
}

// travel sets a subscription on its way through the past, in place of a way that is under way or of what
// waits in its queue. The caller holds the lock, and wakes the shard if the way is not held.
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
			p.goneBy(max(p.Place, p.had)) // It is resumed, so its client has what lies before that.
		}
		return
	}
	p.Epoch, p.until, p.then = s.epoch, s.last, s.last
	if _, ok := p.Ends.(Silently); ok {
		p.Place = s.last
	}
	// What it may get of the past was found out before: newer events are its own already. One that
	// subscribes again is still owed what it was not sent since it began. A snapshot stands for that.
	p.Place = min(p.Place, sent)
}

// follow has it take the place of another way. A resume keeps the way that its client asked for, and any
// other way ends the old one.
func (p *Way) follow(old *Way) {
	p.notices, old.notices = old.notices, nil // They are told once.
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

// goneBy notes that the subscription has, or was sent, everything up to a place. So the event of the cache
// is not sent again.
func (p *Way) goneBy(place uint64) {
	if p.cached != nil && p.cached.Pub.Offset <= place {
		p.cached = nil
	}
}

// comesTo notes that a publication is behind the way.
func (p *Way) comesTo(item *Event) {
	if p.Place = item.Pub.Offset; p.cached != nil && p.cached.Pub.Offset == p.Place {
		p.cached = nil
	}
}

// recalls is the event of the cache that is to be sent before anything else, nil for none: the way
// begins behind it. A snapshot need not hold it, so what comes next there tells, see
// [Way.skipsCached].
func (p *Way) recalls() *Event {
	if p.cached == nil || p.cached.Pub.Offset > p.Place && !p.skipsCached(nil) {
		return nil
	}
	return p.cached
}

// skipsCached reports that a snapshot, of which this publication comes next, nil for none, does not hold
// the event of the cache: it has a newer one of its conflation value, or does not reach back that far.
func (p *Way) skipsCached(next *Event) bool {
	if p.cached == nil || !p.Latest {
		return false
	}
	return next == nil && p.through || next != nil && p.cached.Pub.Offset < next.Pub.Offset
}

// erase notes that a part of the past was removed, and how the present life of the log is called.
func (p *Way) erase(e *erased) {
	for ; p != nil; p = p.before {
		if p.Epoch = e.Epoch; e.has(p.cached) {
			p.cached = nil
		}
	}
}

// recalled is the frame of an event of the cache for a subscription of this form. It has no number,
// and does not say where its reader is, who is further.
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
	if keepsBases && p.knowsNumbers() && since <= at && at <= s.last && p.then == p.until && sub.form&Delta != 0 {
		p.Kept, p.had, p.Place = true, at, since
		s.mend(sub)
		sub.since = since
	}
	s.travel(sub, p)
	return true
}

// knowsNumbers says whether the bases of its client have the numbers, and so the texts, that they would have
// here.
func (p *Way) knowsNumbers() bool { return p.Salt == nil || *p.Salt == p.Line.salt.Load() }

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

// Plainly has a way with kept bases go on with plain frames. It begins behind what the client has.
func (p *Way) Plainly() { p.Kept, p.Place = false, max(p.Place, p.had) }

// settle has a way that failed go on, after its client was told so. It goes on in the life epoch with what
// lies above own, or with a snapshot (Instead), of which it leaves out what it was sent since it began.
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

// quit ends a way before its end.
func (p *Way) quit() {
	p.Line.Past.Leave(p)
	p.Ends.Abandon(p)
	if p.before != nil {
		p.before.quit()
	}
}

// ended returns what the client is told when the way ends, and with it the way that it took the place of.
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
	// The client is told once why it failed, and behind that how what it asked for ended: not whole.
	b.Failed.Store(f)
	b.Told = true
	return append(p.Ends.End(p), b.Ends.End(b)...)
}

// goBack has a subscription whose resume failed go on with what its client asked for before. What
// the resume sent it does not get again, unless that is a snapshot.
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

// concerns tells whether the socket is meant to get a publication of the past.
func (p *Way) concerns(to *Subscribers, sub *subscription, item *Event) bool {
	return to.concerns(sub, item) && (item.Pub.ExcludeSocket == "" || item.Pub.ExcludeSocket != p.Was && item.Pub.ExcludeSocket != p.Is)
}

// relive notes what became of a publication that the socket that this one was before met.
func (s *Subscribers) relive(sub *subscription, p *Way, item *Event) {
	if p.concerns(s, sub, item) {
		s.received(sub, item)
	} else {
		s.missed(sub, item)
	}
}

// Silently is the ending of a way that nobody has to hear of.
type Silently struct{}

func (Silently) End(*Way) []*socket.Frame { return nil }
func (Silently) Abandon(*Way)             {}
