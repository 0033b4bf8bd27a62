package socket

import "sync/atomic"

const (
	// frameRoom and slotRoom are the memory of a frame and of a slot in a queue in addition to the bytes of
	// the frame, in bytes.
	frameRoom = 64
	slotRoom  = 16
)

// Budget counts the memory that all slow sockets hold: each frame once, however many sockets wait for it, and
// what each socket holds for itself. Sockets that keep up are not in it: their frames are gone within the
// round of their loop, so a frame usually costs nothing here. Safe for concurrent use.
type Budget struct {
	limit int64
	bytes atomic.Int64
	// wake tells [Group.Run] to make room.
	wake chan struct{}
}

// Item is something that sockets wait for. It counts once, however many sockets wait.
type Item struct{ waiting atomic.Int32 }

// Bytes returns the number of bytes held.
func (b *Budget) Bytes() int64 { return b.bytes.Load() }

// full reports whether nothing more fits. [Group.Run] begins to make room at seven eighths of the bound.
func (b *Budget) full() bool { return b.bytes.Load() >= b.limit }

// low reports whether a quarter of the bound is free.
func (b *Budget) low() bool { return b.bytes.Load() <= b.limit/4*3 }

// Hold counts that one more socket waits for an item: each is the bytes for the socket, and bytes those of
// the item, which count only for the first socket.
func (b *Budget) Hold(i *Item, bytes, each int64) {
	if i.waiting.Add(1) == 1 {
		each += bytes
	}
	b.add(each)
}

// Release reverses a Hold with the same numbers.
func (b *Budget) Release(i *Item, bytes, each int64) {
	if i.waiting.Add(-1) == 0 {
		each += bytes
	}
	b.add(-each)
}

// HoldFrame counts that one more socket waits for a frame outside its outbox.
func (b *Budget) HoldFrame(f *Frame) { b.Hold(&f.waits, int64(len(f.b))+frameRoom, slotRoom) }

// ReleaseFrame reverses HoldFrame.
func (b *Budget) ReleaseFrame(f *Frame) { b.Release(&f.waits, int64(len(f.b))+frameRoom, slotRoom) }

func (b *Budget) add(n int64) {
	if b.bytes.Add(n) <= b.limit/8*7 || n <= 0 {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
