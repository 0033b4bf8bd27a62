package socket

import "sync/atomic"

const (
	// frameRoom and slotRoom are what a frame and a place in a queue take beside the
	// bytes of the frame, in bytes.
	frameRoom = 64
	slotRoom  = 16
)

// Budget counts what the sockets that are behind hold together: each frame once, however
// many of them wait for it, and what they have for themselves. Sockets that take what
// they are sent are not in it: their frames are gone within the round of their loop, so
// the ordinary way of a frame costs nothing here.
type Budget struct {
	limit int64
	bytes atomic.Int64
	// wake has a word for the one that makes room.
	wake chan struct{}
}

// Item is something that sockets wait for and that counts once, however many wait.
type Item struct{ waiting atomic.Int32 }

// Bytes is what is held.
func (b *Budget) Bytes() int64 { return b.bytes.Load() }

// full tells that nothing more fits. It is the bound; long before it [Group.Run] begins
// to make room.
func (b *Budget) full() bool { return b.bytes.Load() >= b.limit }

// low tells that a quarter of the bound is free.
func (b *Budget) low() bool { return b.bytes.Load() <= b.limit/4*3 }

// Hold counts an item that waits for one more socket: each bytes for the socket, and the
// item's bytes if it is the first.
func (b *Budget) Hold(i *Item, bytes, each int64) {
	if i.waiting.Add(1) == 1 {
		each += bytes
	}
	b.add(each)
}

// Release takes a Hold with the same numbers back.
func (b *Budget) Release(i *Item, bytes, each int64) {
	if i.waiting.Add(-1) == 0 {
		each += bytes
	}
	b.add(-each)
}

// HoldFrame counts a frame that waits for one more socket outside its outbox.
func (b *Budget) HoldFrame(f *Frame) { b.Hold(&f.waits, int64(len(f.b))+frameRoom, slotRoom) }

// ReleaseFrame takes HoldFrame back.
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
