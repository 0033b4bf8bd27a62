package socket

import (
	"math"
	"unsafe"

	"github.com/sluicehq/sluice/broker/rank"
)

type outboxFlags uint8

const (
	// dirty: the loop was told that there is something to write.
	dirty outboxFlags = 1 << iota
	// blocked: the kernel took no more, and a goroutine of its own is writing.
	blocked
	// closing: no more frames are accepted, and the socket is closed when everything was written.
	closing
	// dead: writing failed.
	dead
	// retired: the connection is gone, and the record may be used again.
	retired
	// lagging: the loop must call CatchUp when the outbox is empty, because frames for this socket wait
	// elsewhere.
	lagging

	// deaf are the states in which no frames are accepted.
	deaf = closing | dead | retired
)

// firstSlots is the number of frames that an outbox holds without allocating.
const firstSlots = 4

// Outbox is the send queue of one socket: a ring of pointers to shared frames, bounded in frames and bytes by
// its kind. Outboxes live in slabs of their writer. They are padded to two cache lines, because with records
// of two loops side by side, two cores were slower than one.
type Outbox struct {
	mu    rank.Mutex[rank.Outbox]
	flags outboxFlags
	// touched is set by every push and cleared by shrink, which frees rings that were idle for a whole
	// period.
	touched bool
	head    uint32
	count   uint32
	ring    []*Frame
	// queued counts the bytes that the kernel has not taken: of the frames in the ring, and of the write of a
	// blocked socket.
	queued int
	// sock is the socket that has the record, nil for none.
	sock *Socket
	kind *Kind
	// since is when the socket was last blocked, in Unix nanoseconds.
	since int64
	first [firstSlots]*Frame
	_     [outboxSize - outboxUsed]byte
}

const (
	outboxSize = 128
	outboxUsed = 8 + 8 + 8 + 24 + 8 + 8 + 8 + 8 + firstSlots*8
)

// The padding must be exact, otherwise records share cache lines.
var _ [0]struct{} = [outboxSize - unsafe.Sizeof(Outbox{})]struct{}{}

// Pushed says what happened to a frame.
type Pushed uint8

const (
	// Dropped: the socket is closing or dead.
	Dropped Pushed = iota
	// Queued: the loop knows already that there is work.
	Queued
	// Wakes: the caller must tell the loop that there is something to write.
	Wakes
	// Overflowed: the outbox was full, and the socket is being closed after the last frame of its kind. The
	// caller must tell the loop, as with Wakes.
	Overflowed
	// Refused: the outbox is full, and the method does not close for that. The loop calls CatchUp when it is
	// empty.
	Refused
)

// Push appends a frame. It never waits for the socket. The caller must know that the outbox still belongs to
// its socket; [Socket.Send] is for other callers.
func (o *Outbox) Push(f *Frame) Pushed { return o.push(o.kind, f, nil) }

// Offer appends a frame if there is room. The caller keeps a frame that is refused. As for Push, the outbox
// must still belong to its socket.
func (o *Outbox) Offer(f *Frame) Pushed { return o.offer(o.kind, f) }

// Trickle appends a frame that is not urgent, if that leaves half of the outbox to others. Otherwise it
// refuses, like Offer, and never closes. As for Push, the outbox must still belong to its socket.
func (o *Outbox) Trickle(f *Frame) Pushed {
	k := o.kind
	if k.Form != nil {
		f = k.Form(f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.flags&deaf != 0:
		return Dropped
	case o.count > 0 && (int(o.count) >= k.Frames/2 || o.queued+len(f.b) > k.Bytes/2), o.flags&blocked != 0:
		o.flags |= lagging
		return Refused
	}
	return o.add(f)
}

// Await makes the loop call CatchUp when the outbox is empty, which may be so already. It returns Wakes if
// the caller must tell the loop. As for Push, the outbox must still belong to its socket.
func (o *Outbox) Await() Pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&deaf != 0 {
		return Dropped
	}
	o.flags |= lagging
	if o.flags&(dirty|blocked) != 0 {
		return Queued
	}
	o.flags |= dirty
	return Wakes
}

// GiveUp closes the socket as an overflow does: the last frame of its kind replaces what waits. As for Push,
// the outbox must still belong to its socket.
func (o *Outbox) GiveUp(why Reason) Pushed { return o.giveUp(why, nil) }

// End is [Socket.End] for a caller that tells the loop itself if End reports true. As for Push, the outbox
// must still belong to its socket.
func (o *Outbox) End(f *Frame) bool { return o.end(f, nil) }

// Socket returns the socket of the outbox. As for Push, the outbox must still belong to it.
func (o *Outbox) Socket() *Socket { return o.sock }

// Kind returns the kind of the socket. As for Push, the outbox must still belong to it.
func (o *Outbox) Kind() *Kind { return o.kind }

// Take empties the outbox, for a loop that does not write to a descriptor. It appends the frames to into.
// more reports that frames wait elsewhere for the outbox to be empty: the loop must then catch up and call
// Take again.
func (o *Outbox) Take(into []*Frame) (frames []*Frame, more bool) {
	o.mu.Lock()
	into, _ = o.take(into, math.MaxInt)
	more = o.flags&(lagging|closing) == lagging
	o.flags &^= dirty | lagging
	o.mu.Unlock()
	return into, more
}

// push handles every frame for every socket. It has no defer, whose cost would be measurable.
func (o *Outbox) push(k *Kind, f *Frame, owner *Socket) (became Pushed) {
	if k.Form != nil {
		f = k.Form(f)
	}
	o.mu.Lock()
	switch {
	case o.flags&deaf != 0 || owner != nil && o.sock != owner:
		became = Dropped
	case o.full(k, f):
		became = o.overflow(ByQueue)
	case o.flags&blocked != 0 && o.budget().full():
		became = o.overflow(ByTotal)
	default:
		became = o.add(f)
	}
	o.mu.Unlock()
	return became
}

func (o *Outbox) offer(k *Kind, f *Frame) (became Pushed) {
	if k.Form != nil {
		f = k.Form(f)
	}
	o.mu.Lock()
	switch {
	case o.flags&deaf != 0:
		became = Dropped
	case o.full(k, f) || o.flags&blocked != 0 && o.budget().full():
		o.flags |= lagging
		became = Refused
	default:
		became = o.add(f)
	}
	o.mu.Unlock()
	return became
}

func (o *Outbox) giveUp(why Reason, owner *Socket) Pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&deaf != 0 || owner != nil && o.sock != owner {
		return Dropped
	}
	return o.overflow(why)
}

// littleShare is a share of the byte bound. A socket that keeps up may always be sent another frame while
// less than this waits: for example, the event that follows the answer to a subscription.
const littleShare = 16

// full reports whether a frame exceeds the bounds. One frame always fits, however large it is.
func (o *Outbox) full(k *Kind, f *Frame) bool {
	waits := o.flags&blocked != 0
	switch {
	case o.count == 0 && !waits:
		return false
	case int(o.count) >= k.Frames:
		return true
	case o.queued <= k.Bytes/littleShare && !waits:
		return false
	}
	return o.queued+len(f.b) > k.Bytes
}

// overflow drops everything that is not being written yet and queues the last frame. So the peer sees an
// early end and no gap.
func (o *Outbox) overflow(why Reason) Pushed {
	o.sock.writer.group.closed[why].Add(1)
	o.sock.writer.total.overflows.Add(1)
	o.clear()
	o.flags |= closing
	o.add(o.kind.Last)
	return Overflowed
}

func (o *Outbox) add(f *Frame) Pushed {
	o.append(f)
	if o.flags&(dirty|blocked) != 0 {
		return Queued
	}
	o.flags |= dirty
	return Wakes
}

// end appends the last frame, which may be nil, and reports whether the caller must tell the loop.
func (o *Outbox) end(f *Frame, owner *Socket) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&deaf != 0 || owner != nil && o.sock != owner {
		return false
	}
	if f != nil {
		o.append(f)
	}
	o.flags |= closing
	if o.flags&(dirty|blocked) != 0 {
		return false
	}
	o.flags |= dirty
	return true
}

func (o *Outbox) append(f *Frame) {
	if int(o.count) == len(o.ring) {
		o.grow()
	}
	o.ring[(o.head+o.count)&uint32(len(o.ring)-1)] = f
	o.count++
	o.queued += len(f.b)
	if o.flags&blocked != 0 {
		o.budget().HoldFrame(f)
	}
	o.touched = true
}

func (o *Outbox) grow() {
	if len(o.ring) == 0 {
		o.ring = o.first[:]
		o.head = 0
		return
	}
	bigger := make([]*Frame, 2*len(o.ring))
	n := copy(bigger, o.ring[o.head:])
	copy(bigger[n:], o.ring[:o.head])
	clear(o.ring)
	o.ring, o.head = bigger, 0
}

// clear drops all frames. The flag blocked must still say how they were counted.
func (o *Outbox) clear() {
	for i := range o.count {
		f := &o.ring[(o.head+i)&uint32(len(o.ring)-1)]
		o.queued -= len((*f).b)
		if o.flags&blocked != 0 {
			o.budget().ReleaseFrame(*f)
		}
		*f = nil
	}
	o.head, o.count = 0, 0
}

// take moves frames of up to max bytes, at least one, to batch.
func (o *Outbox) take(batch []*Frame, max int) ([]*Frame, int) {
	total := 0
	for o.count > 0 {
		slot := &o.ring[o.head]
		n := len((*slot).b)
		if total > 0 && total+n > max {
			break
		}
		batch = append(batch, *slot)
		if o.flags&blocked != 0 {
			o.budget().ReleaseFrame(*slot)
		}
		*slot = nil
		total += n
		o.head = (o.head + 1) & uint32(len(o.ring)-1)
		o.count--
	}
	o.queued -= total
	return batch, total
}

func (o *Outbox) gone(owner *Socket) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flags&dead != 0 || o.sock != owner
}

// retire notes that the connection is gone. It reports whether the caller must tell the loop, which then
// releases the record.
func (o *Outbox) retire() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flags |= retired
	if o.flags&(dirty|blocked) != 0 {
		return false
	}
	o.flags |= dirty
	return true
}

// block notes that the kernel took no more, and that n bytes of the write are now in memory of the socket.
// From here on, the frames count in the budget of all sockets.
func (o *Outbox) block(n int, now int64) {
	o.flags |= blocked
	o.since = now
	o.hold(n)
	for i := range o.count {
		o.budget().HoldFrame(o.ring[(o.head+i)&uint32(len(o.ring)-1)])
	}
}

// hold counts bytes in memory of the socket itself; a negative n releases them.
func (o *Outbox) hold(n int) {
	o.queued += n
	o.budget().add(int64(n))
}

// budget returns the budget of all sockets. The outbox must be blocked, because only then it surely has a
// socket.
func (o *Outbox) budget() *Budget { return &o.sock.writer.group.budget }

// shrink frees the ring if nothing was pushed since the last call.
func (o *Outbox) shrink() {
	o.mu.Lock()
	if !o.touched && o.count == 0 && len(o.ring) > firstSlots {
		o.ring, o.head = o.first[:], 0
	}
	o.touched = false
	o.mu.Unlock()
}
