package socket

import (
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Frame is bytes as they travel, all of them or none. It is immutable and shared by any
// number of sockets.
type Frame struct {
	b []byte
	// payload is where the message begins.
	payload int32
	// stored is when what it carries was stored, in Unix milliseconds, 0 for what the log does
	// not have.
	stored int64
	// waits counts it in the budget while sockets that are behind wait for it.
	waits Item

	making rank.Mutex[rank.Frame]
	other  atomic.Pointer[Frame]
}

// NewFrame makes a frame of bytes, which it takes over. The message that they carry begins
// at payload and goes to their end.
func NewFrame(b []byte, payload int) *Frame { return &Frame{b: b, payload: int32(payload)} }

// Of notes that a frame carries an event that was stored then. The caller made it, and nobody
// else has it yet.
func (f *Frame) Of(stored time.Time) *Frame {
	f.stored = stored.UnixMilli()
	return f
}

// As notes that a frame carries what another one carries. The caller made it, as for Of.
func (f *Frame) As(other *Frame) *Frame {
	f.stored = other.stored
	return f
}

// Join makes one frame of several, so that nothing can come between them. Its payload is
// everything.
func Join(frames ...*Frame) *Frame {
	var b []byte
	for _, f := range frames {
		b = append(b, f.b...)
	}
	return NewFrame(b, 0)
}

// Bytes are what travels. Callers must not modify them.
func (f *Frame) Bytes() []byte { return f.b }

// Payload is the message without what stands before it. Callers must not modify it.
func (f *Frame) Payload() []byte { return f.b[f.payload:] }

// Other is a second form of the frame for those peers that take it. The first caller makes
// it, and it stays with the frame for all others. derive may return the frame itself.
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
