package socket

import (
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Frame is bytes that are sent completely or not at all. It is immutable and shared by any number of sockets.
type Frame struct {
	b []byte
	// payload is the index at which the message begins.
	payload int32
	// stored is when the log stored the event in the frame, in Unix milliseconds, 0 if the frame has no event
	// of the log.
	stored int64
	// waits counts the frame in the budget while slow sockets wait for it.
	waits Item

	making rank.Mutex[rank.Frame]
	other  atomic.Pointer[Frame]
}

// NewFrame returns a frame of b, which it keeps. The message in it is b[payload:].
func NewFrame(b []byte, payload int) *Frame { return &Frame{b: b, payload: int32(payload)} }

// Of sets when the event in a frame was stored. Only the creator of the frame may call it, before sharing the
// frame.
func (f *Frame) Of(stored time.Time) *Frame {
	f.stored = stored.UnixMilli()
	return f
}

// As sets that the frame has the same event as other. The same rule applies as for Of.
func (f *Frame) As(other *Frame) *Frame {
	f.stored = other.stored
	return f
}

// Join returns one frame with the bytes of several, so that nothing can come between them. All of it is
// payload.
func Join(frames ...*Frame) *Frame {
	var b []byte
	for _, f := range frames {
		b = append(b, f.b...)
	}
	return NewFrame(b, 0)
}

// Bytes returns the bytes that are sent. Callers must not modify them.
func (f *Frame) Bytes() []byte { return f.b }

// Payload returns the message without its header. Callers must not modify it.
func (f *Frame) Payload() []byte { return f.b[f.payload:] }

// Other returns a second form of the frame, for example a compressed one. The first call makes it with
// derive, and all others share it. derive may return the frame itself. Safe for concurrent use.
func (f *Frame) Other(derive func(*Frame) *Frame) *Frame {
	if other := f.other.Load(); other != nil {
		return other
	}
	f.making.Lock()
	defer f.making.Unlock()
	other := f.other.Load()
	if other == nil {
		if other = derive(f); other != f {
			other.stored = f.stored
		}
		f.other.Store(other)
	}
	return other
}
