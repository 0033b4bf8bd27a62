package fanout

import (
	"math"
	"slices"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Places is where the reader of an event stream is in each of its channels, and what its ids say.
// One that reads several gets ids that name all of them, so its frames are copies with an id of
// their own; those who read one channel share theirs.
//
// Whoever sends the reader something holds the lock from the look at the places until the frame
// is queued. So an id never says less than one before it, and never more than stands before it.
type Places struct {
	channels []string
	sum      uint32
	// most and mostBytes of what was not for the reader may pass before he is told where he is.
	most, mostBytes int

	mu rank.Mutex[rank.Places]
	at []pusher.Place
	// ahead: the reader is further than the last id says that he was sent. passed and bytes count
	// what was not for him since.
	ahead         bool
	passed, bytes int
}

// passedShare is the part of what may be missed that passes before a reader is told where he is
// when nothing is for him: so much less than that he may miss when he is cut off.
const passedShare = 8

// NewPlaces returns the places of a reader of these channels, who was at from, nil for nowhere.
func NewPlaces(channels []string, from []pusher.Place, r app.Recovery) *Places {
	p := &Places{
		channels: channels, sum: pusher.ChannelsSum(channels), at: make([]pusher.Place, len(channels)), ahead: from != nil,
		most: r.MaxEvents / passedShare, mostBytes: r.MaxBytes / passedShare,
	}
	if !r.Enabled {
		p.most, p.mostBytes = math.MaxInt, math.MaxInt
	}
	copy(p.at, from)
	return p
}

// Of is the place of one channel.
func (p *Places) Of(channel string) OwnPlace {
	return OwnPlace{p, slices.Index(p.channels, channel)}
}

// Send sends what has no place of its own, with an id if the reader is further than he was told.
// Nobody but readers of event streams has places: nil is for the others.
func (p *Places) Send(to *socket.Socket, f *socket.Frame) {
	if p == nil {
		to.Send(f)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to.Send(p.named(f))
}

// End is Send for the last frame, as [socket.Socket.End].
func (p *Places) End(to *socket.Socket, f *socket.Frame) {
	if p == nil {
		to.End(f)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to.End(p.named(f))
}

// named is a frame with an id, if the reader is further than he was told. The caller has the
// lock.
func (p *Places) named(f *socket.Frame) *socket.Frame {
	if !p.ahead {
		return f
	}
	p.told()
	id := pusher.AppendPlaces(make([]byte, 0, 24*len(p.at)+16), p.at, p.sum)
	if len(id) == 0 {
		return f
	}
	buf := make([]byte, 0, len(f.Payload())+len(id)+8)
	buf = append(append(append(buf, "id: "...), id...), '\n')
	head := len(buf)
	return socket.NewFrame(append(buf, f.Payload()...), head).As(f)
}

// told notes that the reader is told where he is. The caller has the lock.
func (p *Places) told() { p.ahead, p.passed, p.bytes = false, 0, 0 }

// OwnPlace is the place of one channel among those of a reader.
type OwnPlace struct {
	*Places
	i int
}

// Begin sends the frame with which the reader begins there, with an id that says so.
func (o OwnPlace) Begin(to *socket.Socket, f *socket.Frame, epoch string, offset uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(pusher.Place{Stream: epoch, Serial: offset})
	to.Send(o.named(f))
}

// set notes where the reader is, whether or not that is further. The caller has the lock.
func (o OwnPlace) set(at pusher.Place) {
	if o.at[o.i] != at {
		o.at[o.i], o.ahead = at, true
	}
}

// pass notes that the reader has got to a publication, and reports whether that is further. The
// caller has the lock.
func (o OwnPlace) pass(p *Event) bool {
	at := &o.at[o.i]
	if at.Stream == p.Pub.Epoch && at.Serial >= p.Pub.Offset {
		return false
	}
	*at, o.ahead = pusher.Place{Stream: p.Pub.Epoch, Serial: p.Pub.Offset}, true
	return true
}

// inside puts the frame of a publication of a snapshot into an outbox. The reader has no place in the
// middle of that: he stays where he was, and begins the snapshot again if he is cut off before its end.
func (o OwnPlace) inside(f *socket.Frame, to *socket.Outbox, put func(*socket.Outbox, *socket.Frame) socket.Pushed) socket.Pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	ahead, passed, bytes := o.ahead, o.passed, o.bytes
	result := put(to, o.named(socket.NewFrame(f.Payload(), 0).As(f)))
	if result != socket.Queued && result != socket.Wakes {
		o.ahead, o.passed, o.bytes = ahead, passed, bytes
	}
	return result
}

// hand puts the frame of a publication into an outbox, with an id that says where the reader is
// once he has it.
func (o OwnPlace) hand(p *Event, f *socket.Frame, to *socket.Outbox, put func(*socket.Outbox, *socket.Frame) socket.Pushed) socket.Pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, ahead, passed, bytes := o.at[o.i], o.ahead, o.passed, o.bytes
	switch further := o.pass(p); {
	case further && len(o.at) == 1:
		o.told() // by the frame itself
	case o.ahead:
		f = o.named(f)
	default:
		f = socket.NewFrame(f.Payload(), 0).As(f)
	}
	result := put(to, f)
	if result != socket.Queued && result != socket.Wakes {
		o.at[o.i], o.ahead, o.passed, o.bytes = was, ahead, passed, bytes
	}
	return result
}

// appendPlace appends the id of a place in the only channel of a stream. What has no place in the
// log has none.
func appendPlace(dst []byte, epoch string, offset uint64) []byte {
	if offset == 0 {
		return dst
	}
	return append(pusher.AppendPlaces(append(dst, "id: "...), []pusher.Place{{Stream: epoch, Serial: offset}}, 0), '\n')
}

// hand puts the frame of a publication into the outbox of a subscription.
func (s *Subscribers) hand(sub *subscription, p *Event, f *socket.Frame, put func(*socket.Outbox, *socket.Frame) socket.Pushed) socket.Pushed {
	switch {
	case sub.marks&placed == 0 || p.Pub.Offset == 0:
		return put(sub.out, f)
	case s.inSnapshot(sub):
		return s.places[sub.out].inside(f, sub.out, put)
	}
	return s.places[sub.out].hand(p, f, sub.out, put)
}

// inSnapshot tells whether a subscription is on its way through a snapshot.
func (s *Subscribers) inSnapshot(sub *subscription) bool {
	return sub.state == catching && s.details[sub.out].past.Latest
}

// whereabouts is a frame of nothing, for an id.
var whereabouts = socket.NewFrame([]byte(":\n\n"), 0)

// spare notes a publication that is not for a subscription. The reader of an event stream has
// passed it, unless others wait before it, and is told so now and then.
func (s *Shard) spare(to *Subscribers, sub *subscription, p *Event) {
	to.missed(sub, p)
	if sub.marks&placed == 0 || sub.state == behind || to.inSnapshot(sub) {
		return
	}
	o := to.places[sub.out]
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.pass(p) {
		return
	}
	o.passed++
	if o.bytes += p.bytes; sub.state == live && (o.passed > o.most || o.bytes > o.mostBytes) {
		s.push(sub.out, o.named(whereabouts))
	}
}

// tell sends frames that must come now, and reports whether the socket took them. at is where the
// reader of an event stream is with the first of them, nil for where he was.
func (s *Shard) tell(to *Subscribers, sub *subscription, at *pusher.Place, frames ...*socket.Frame) bool {
	if sub.marks&placed == 0 {
		return s.Tell(sub.out, frames)
	}
	o := to.places[sub.out]
	o.mu.Lock()
	defer o.mu.Unlock()
	if at != nil {
		o.set(*at)
	}
	ok := true
	for _, f := range frames {
		ok = s.push(sub.out, o.named(f)) && ok
	}
	return ok
}
