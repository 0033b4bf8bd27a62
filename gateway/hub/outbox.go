package hub

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// limits bound every outbox of a hub.
type limits struct {
	frames int
	bytes  int
	// all bounds what the sockets that are behind hold together.
	all *budget
	// closed counts the sockets that were closed because they did not read.
	closed [reasons]atomic.Uint64
	// over is what a socket gets when its outbox is full, by dialect.
	over [2]*Frame
}

// reason says why a socket that did not read was closed.
type reason int

const (
	// byQueue: its own queue was full.
	byQueue reason = iota
	// byTime: it took nothing at all for too long.
	byTime
	// byTotal: all that are behind held too much together.
	byTotal
	reasons
)

func (r reason) String() string { return [...]string{"queue", "time", "total"}[r] }

type outboxFlags uint8

const (
	// dirty: the shard has been told that there is something to write.
	dirty outboxFlags = 1 << iota
	// blocked: the kernel took no more; a goroutine of its own is writing.
	blocked
	// closing: nothing is accepted any more; close when everything is out.
	closing
	// dead: writing failed.
	dead
	// retired: the connection is gone; the record may be used again.
	retired
	// lagging: a channel has publications for this socket that wait until the
	// outbox is empty.
	lagging
)

// firstSlots is the number of frames that an outbox holds without allocating.
const firstSlots = 4

// outbox is the send queue of one socket: a ring of pointers to shared frames,
// bounded in frames and bytes. Outboxes live in slabs of their shard and are
// padded to two cache lines, because records of two shards side by side made
// two cores slower than one.
type outbox struct {
	mu    sync.Mutex
	flags outboxFlags
	v2    bool
	// deflates: the peer takes compressed messages.
	deflates bool
	// touched is set by every push and cleared by the sweep, which gives back
	// the memory of rings that have been idle for a whole period.
	touched bool
	head    uint32
	count   uint32
	ring    []*Frame
	// queued counts the bytes of all frames that are not with the kernel.
	queued int
	sock   *socket
	client *Client
	// seen is when the peer last showed life, in Unix nanoseconds.
	seen atomic.Int64
	// since is when the socket was last blocked, in Unix nanoseconds.
	since int64
	first [firstSlots]*Frame
	_     [outboxSize - outboxUsed]byte
}

const (
	outboxSize = 128
	outboxUsed = 8 + 8 + 4 + 24 + 8 + 8 + 8 + 8 + 8 + firstSlots*8 + 4
)

// The padding must be right, or slabs lose what they are for.
var _ [0]struct{} = [outboxSize - unsafe.Sizeof(outbox{})]struct{}{}

// pushed says what became of a frame.
type pushed uint8

const (
	// dropped: the socket is closing or dead.
	dropped pushed = iota
	// queuedOnly: the writer knows already that there is work.
	queuedOnly
	// wakes: the caller must tell the shard that the outbox is dirty.
	wakes
	// overflowed: the outbox was full; the socket is being closed with 4100.
	// The caller must tell the shard as with wakes.
	overflowed
	// refused: the outbox is full and [outbox.offer] does not close for that.
	// The shard asks the channels that are behind when it is empty.
	refused
)

// push appends a frame. It never blocks on the socket. owner is nil where the
// caller knows that the outbox still belongs to its connection, and otherwise
// the connection that it must belong to.
func (o *outbox) push(f *Frame, lim *limits, owner *Client) pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&(closing|dead|retired) != 0 || owner != nil && o.client != owner {
		return dropped
	}
	if o.full(f, lim) {
		return o.overflow(lim, byQueue)
	}
	if o.flags&blocked != 0 && lim.all.full() {
		return o.overflow(lim, byTotal)
	}
	return o.add(f)
}

// offer appends a frame if there is room. The caller keeps what is refused and
// must be a channel of the outbox's own connection.
func (o *outbox) offer(f *Frame, lim *limits) pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&(closing|dead|retired) != 0 {
		return dropped
	}
	if o.full(f, lim) || o.flags&blocked != 0 && lim.all.full() {
		o.flags |= lagging
		return refused
	}
	return o.add(f)
}

// giveUp closes the socket with 4100 as an overflow does.
func (o *outbox) giveUp(lim *limits, why reason) pushed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&(closing|dead|retired) != 0 {
		return dropped
	}
	return o.overflow(lim, why)
}

// littleShare is the part of the bytes of an outbox that counts as nothing while the socket
// takes what it is sent: the frames that answer a subscription and stand before its last
// event, for example.
const littleShare = 16

// full tells whether a frame is beyond the bounds. One frame always fits, however large.
func (o *outbox) full(f *Frame, lim *limits) bool {
	waits := o.flags&blocked != 0
	switch {
	case o.count == 0 && !waits:
		return false
	case int(o.count) >= lim.frames:
		return true
	case o.queued <= lim.bytes/littleShare && !waits:
		return false
	}
	return o.queued+len(f.b) > lim.bytes
}

// overflow gives up everything that has not begun to leave at the tail, so that
// the peer sees no hole, only an early end.
func (o *outbox) overflow(lim *limits, why reason) pushed {
	lim.closed[why].Add(1)
	o.clear()
	f := lim.over[0]
	if o.v2 {
		f = lim.over[1]
	}
	o.flags |= closing
	o.add(f)
	return overflowed
}

func (o *outbox) add(f *Frame) pushed {
	o.append(f)
	if o.flags&(dirty|blocked) != 0 {
		return queuedOnly
	}
	o.flags |= dirty
	return wakes
}

// end appends the last frames that the socket will get, whatever the bound, and
// reports whether the caller must tell the shard. f may be nil.
func (o *outbox) end(f *Frame, owner *Client) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flags&(closing|dead|retired) != 0 || owner != nil && o.client != owner {
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

func (o *outbox) append(f *Frame) {
	if int(o.count) == len(o.ring) {
		o.grow()
	}
	o.ring[(o.head+o.count)&uint32(len(o.ring)-1)] = f
	o.count++
	o.queued += len(f.b)
	if o.flags&blocked != 0 {
		o.all().hold(f)
	}
	o.touched = true
}

func (o *outbox) grow() {
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

// clear forgets all frames. The flag blocked must still say how they were counted.
func (o *outbox) clear() {
	for i := range o.count {
		f := &o.ring[(o.head+i)&uint32(len(o.ring)-1)]
		o.queued -= len((*f).b)
		if o.flags&blocked != 0 {
			o.all().release(*f)
		}
		*f = nil
	}
	o.head, o.count = 0, 0
}

// take moves frames of up to max bytes, at least one, to batch.
func (o *outbox) take(batch []*Frame, max int) ([]*Frame, int) {
	total := 0
	for o.count > 0 {
		slot := &o.ring[o.head]
		n := len((*slot).b)
		if total > 0 && total+n > max {
			break
		}
		batch = append(batch, *slot)
		if o.flags&blocked != 0 {
			o.all().release(*slot)
		}
		*slot = nil
		total += n
		o.head = (o.head + 1) & uint32(len(o.ring)-1)
		o.count--
	}
	o.queued -= total
	return batch, total
}

// gone tells that writing has failed: the peer takes nothing any more.
func (o *outbox) gone() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flags&dead != 0
}

// block notes that the kernel took no more, and that n bytes which it did not take wait
// in memory of their own. From here on the frames count in the bound of all sockets.
func (o *outbox) block(n int, now int64) {
	o.flags |= blocked
	o.since = now
	o.hold(n)
	for i := range o.count {
		o.all().hold(o.ring[(o.head+i)&uint32(len(o.ring)-1)])
	}
}

// hold counts bytes in memory of the socket's own; a negative number takes them back.
func (o *outbox) hold(n int) {
	o.queued += n
	o.all().add(int64(n))
}

// all is the bound of all sockets. Only a blocked outbox, which has a client, may ask.
func (o *outbox) all() *budget { return o.client.hub.limits.all }

// shrink gives the ring back when nothing was pushed since the last call.
func (o *outbox) shrink() {
	o.mu.Lock()
	if !o.touched && o.count == 0 && len(o.ring) > firstSlots {
		o.ring, o.head = o.first[:], 0
	}
	o.touched = false
	o.mu.Unlock()
}

// slab hands out outboxes from contiguous memory.
type slab struct {
	free []*outbox
}

const slabChunk = 256

func (s *slab) get() *outbox {
	if len(s.free) == 0 {
		chunk := make([]outbox, slabChunk)
		for i := range chunk {
			s.free = append(s.free, &chunk[len(chunk)-1-i])
		}
	}
	o := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return o
}

// put takes back an outbox that nobody refers to any more.
func (s *slab) put(o *outbox) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	o.flags, o.ring, o.sock, o.client, o.v2, o.deflates, o.touched, o.queued, o.since = 0, nil, nil, nil, false, false, false, 0, 0
	s.free = append(s.free, o)
}
