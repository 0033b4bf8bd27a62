package fanout

import (
	"math"
	"slices"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// Places are the positions of the reader of an event stream in each of its channels, from which its ids are
// made. A reader of several channels gets ids that contain all positions, so its frames are copies with its
// own id. Readers of one channel share frames.
//
// A goroutine that sends the reader something holds the lock from reading the positions until the frame is
// queued. So an id never goes back, and never claims more than was sent before it.
type Places struct {
	channels []string
	sum      uint32
	// most and mostBytes bound the publications not meant for the reader that may pass before it is sent an
	// id.
	most, mostBytes int

	mu rank.Mutex[rank.Places]
	at []pusher.Place
	// ahead: the reader's position is beyond its last id. passed and bytes count the publications that were
	// not meant for it since that id.
	ahead         bool
	passed, bytes int
}

// passedShare is the part of the bounds of a recovery that may pass before a reader is sent an id although
// nothing was meant for it. The reader may miss that much less when it is disconnected.
const passedShare = 8

// NewPlaces returns the positions of a reader of these channels. from are its old positions, nil for a new
// reader.
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

// Of returns the position in one channel.
func (p *Places) Of(channel string) OwnPlace {
	return OwnPlace{p, slices.Index(p.channels, channel)}
}

// Send sends a frame without a position of its own, with an id if the reader's position is beyond its last
// id. A nil p, as connections other than event streams have, adds nothing.
func (p *Places) Send(to *socket.Socket, f *socket.Frame) {
	if p == nil {
		to.Send(f)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to.Send(p.named(f))
}

// End is Send for the last frame, see [socket.Socket.End].
func (p *Places) End(to *socket.Socket, f *socket.Frame) {
	if p == nil {
		to.End(f)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to.End(p.named(f))
}

// named returns the frame with an id if the reader's position is beyond its last id, otherwise f. The caller
// holds the lock.
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

// told notes that the reader is sent its position. The caller holds the lock.
func (p *Places) told() { p.ahead, p.passed, p.bytes = false, 0, 0 }

// OwnPlace is the position in one channel among those of a reader.
type OwnPlace struct {
	*Places
	i int
}

// Begin sends the frame with which a subscription begins at a position, with an id of that.
func (o OwnPlace) Begin(to *socket.Socket, f *socket.Frame, epoch string, offset uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(pusher.Place{Stream: epoch, Serial: offset})
	to.Send(o.named(f))
}

// set sets the position, which may go back. The caller holds the lock.
func (o OwnPlace) set(at pusher.Place) {
	if o.at[o.i] != at {
		o.at[o.i], o.ahead = at, true
	}
}

// pass moves the position to a publication, and reports whether that is forward. The caller holds the lock.
func (o OwnPlace) pass(p *Event) bool {
	at := &o.at[o.i]
	if at.Stream == p.Pub.Epoch && at.Serial >= p.Pub.Offset {
		return false
	}
	*at, o.ahead = pusher.Place{Stream: p.Pub.Epoch, Serial: p.Pub.Offset}, true
	return true
}

// inside puts the frame of a publication of a snapshot into an outbox. There are no positions within a
// snapshot: the reader keeps its old one, and gets the whole snapshot again if it is disconnected before the
// end.
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

// hand puts the frame of a publication into an outbox, with an id of the position after it.
func (o OwnPlace) hand(p *Event, f *socket.Frame, to *socket.Outbox, put func(*socket.Outbox, *socket.Frame) socket.Pushed) socket.Pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, ahead, passed, bytes := o.at[o.i], o.ahead, o.passed, o.bytes
	switch further := o.pass(p); {
	case further && len(o.at) == 1:
		o.told() // the frame itself has the id
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

// appendPlace appends the id of a position in the only channel of a stream, nothing for an ephemeral event.
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

// inSnapshot reports whether a subscription is being sent a snapshot.
func (s *Subscribers) inSnapshot(sub *subscription) bool {
	return sub.state == catching && s.details[sub.out].past.Latest
}

// whereabouts is a comment, to which an id can be added.
var whereabouts = socket.NewFrame([]byte(":\n\n"), 0)

// spare notes a publication that is not meant for a subscription. It moves the position of the reader of an
// event stream, unless earlier publications wait for the reader, and sends an id now and then.
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

// tell queues control frames, and reports whether the socket took them. at is the position of the reader of
// an event stream with the first of them, nil if it does not change.
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
