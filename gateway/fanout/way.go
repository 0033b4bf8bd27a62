package fanout

import (
	"fmt"
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
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
	// Head is the newest publication when it began, in the life that Epoch names.
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
	// Is is the id of the socket: what was published without it is not for it, also where the event
	// was read from the log.
	Is string
	// Held: nothing is sent before it is known what the client wants.
	Held atomic.Bool
	// Cold: the log was read for it.
	Cold bool
	// Latest: it goes through the newest publications of all conflation values, once these
	// are fresh, to their end. The last of them may be on their way to the shard: they have
	// taken the place of what was before them.
	Latest, Fresh, Ending, through bool
	// Failed is why the past cannot be had. Told: the end of another way tells the client that.
	Failed atomic.Pointer[pusher.ResumeFailure]
	Told   bool
	// Sent counts what was sent of the past and Live what was published meanwhile; met and
	// bytes what lay between.
	Sent, Live, met, bytes int
	// waits is where it was when it began to wait for a page; it belongs to the lock of the past.
	// foreseen is what a page said about that. Until it is there, nothing is sent to one that is
	// doubted.
	waits    stretch
	doubted  atomic.Bool
	foreseen atomic.Pointer[pusher.ResumeFailure]
	// Last is the id of the last publication that was passed.
	Last string
	// notices waited for the socket when the way began.
	notices []*socket.Frame
	// cached is the event of the cache with which the subscription begins, until it was sent or its
	// way has gone by it.
	cached *Event
	// Asked: its client asked for it and waits for its end. before is such a way whose place this
	// one took: its end is told with that of this one, and if this one fails it goes on.
	Asked  bool
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

// travel sets a subscription on its way through the past. The caller holds the lock, and wakes
// the shard if the way is not held.
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
			p.goneBy(max(p.Place, p.had)) // It is resumed: its client has what lies before.
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

// follow has it take the place of another way. One that is resumed keeps what its client asked for.
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

// goneBy notes that all up to a place is behind it.
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

// erase notes that a part of the past was removed.
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

// settle has a way that failed, and was told so, go on in a life of the log with what lies above
// own, or with a snapshot that leaves out what it was sent since it began.
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

// ended is what the client is told when it ends.
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

// allows reports false for a publication with which the client has missed more than it may.
func (p *Way) allows(item *Event) bool {
	return item.Pub.Offset > p.until || !p.left().beyond(p.met+1, p.bytes+item.bytes)
}

// passes counts a publication of what the client missed, once it is behind the way.
func (p *Way) passes(item *Event) {
	if item.Pub.Offset <= p.until {
		p.met++
		p.bytes += item.bytes
	}
}

// stretch is what lies before a way, and how much of it there may be.
type stretch struct {
	epoch              string
	place, until, head uint64
	// met and bytes lie behind it.
	met, bytes, most, mostBytes int
}

// left is the stretch before it now.
func (p *Way) left() stretch {
	return stretch{p.Epoch, max(p.Place, p.had), p.until, p.Head, p.met, p.bytes, p.Most, p.MostBytes}
}

func (s stretch) beyond(items, bytes int) bool {
	return s.most > 0 && items > s.most || s.mostBytes > 0 && bytes > s.mostBytes
}

// tooMuch is the failure of a way on which more lies than the client may have missed.
func (s stretch) tooMuch(channel string) *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: channel, Code: pusher.PositionExpired, Newest: s.head}
	f.Reason = fmt.Sprintf("more was missed than the %d events or %d bytes that can be resumed", s.most, s.mostBytes)
	f.Expected, f.Current = s.epoch, s.epoch
	return f
}

// Waits notes where it is when it begins to wait for a page. The caller has the lock of the
// subscribers and that of the past.
func (p *Way) Waits() { p.waits = p.left() }

// Foresee says what a page, which reaches through a place, tells of the way of one that waited. It is
// the failure if more lies on the way than it may have missed. rest is what lies behind the page where
// that decides it and nothing was sent yet; whoever asked counts it. Otherwise both are nil. With
// either of them nothing more is sent before [Way.Foretell]. The caller has the lock of the past.
func (p *Way) Foresee(page []*Event, through uint64) (f *pusher.ResumeFailure, rest *Rest) {
	s := &p.waits
	met, bytes := s.met, s.bytes
	for _, item := range page {
		if at := item.Pub.Offset; at > s.place && at <= s.until {
			met++
			bytes += item.bytes
			if s.beyond(met, bytes) {
				p.doubted.Store(true)
				return s.tooMuch(p.Line.Name), nil
			}
		}
	}
	if s.met == 0 && s.most > 0 && through < s.until {
		p.doubted.Store(true)
		return nil, &Rest{Above: through, To: s.until, Most: s.most - met, stretch: *s, channel: p.Line.Name}
	}
	return nil, nil
}

// Rest is what lies on a way behind a page: the publications above one place, up to another one. The
// way fails if there are more than Most. It is a plain value.
type Rest struct {
	Above, To uint64
	Most      int
	stretch   stretch
	channel   string
}

// TooMuch is the failure of the way if there are so many, nil if it may go on.
func (r *Rest) TooMuch(publications uint64) *pusher.ResumeFailure {
	if publications <= uint64(r.Most) {
		return nil
	}
	return r.stretch.tooMuch(r.channel)
}

// Foretell has it end with what was foreseen, unless it has found that out by itself, or go on if that
// is nil.
func (p *Way) Foretell(f *pusher.ResumeFailure) {
	p.foreseen.Store(f)
	p.doubted.Store(false)
}

// meets takes over what was foreseen. It says nothing to one that is bounded no more.
func (p *Way) meets() {
	if f := p.foreseen.Swap(nil); f != nil && p.Most+p.MostBytes > 0 {
		p.Failed.Store(f)
	}
}

// Silently is the ending of a way that nobody has to hear of.
type Silently struct{}

func (Silently) End(*Way) []*socket.Frame { return nil }
func (Silently) Abandon(*Way)             {}
