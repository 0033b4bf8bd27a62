package hub

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// headroom is the space left in front of a payload for the largest header of an
// unmasked WebSocket frame (RFC 6455 section 5.2).
const headroom = 10

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	finBit         = 0x80
)

// Frame is one or more complete WebSocket frames as they travel. It is immutable
// and shared by any number of sockets.
type Frame struct {
	b []byte
	// head is the length of the header, 0 where there is more than one frame.
	head int32
	// held counts the sockets that are behind and wait for it.
	held atomic.Int32

	pack   sync.Mutex
	packed atomic.Pointer[Frame]
}

// Payload is the message without its header. Callers must not modify it.
func (f *Frame) Payload() []byte { return f.b[f.head:] }

// newBuffer returns a buffer to append a payload to and to [seal] afterwards.
func newBuffer(capacity int) []byte { return make([]byte, headroom, headroom+capacity) }

// seal turns a buffer of newBuffer into a frame, which takes it over.
func seal(buf []byte, opcode byte) *Frame {
	n := len(buf) - headroom
	var head int
	switch {
	case n <= 125:
		head = 2
		buf[headroom-1] = byte(n)
	case n <= 0xffff:
		head = 4
		buf[headroom-3] = 126
		binary.BigEndian.PutUint16(buf[headroom-2:], uint16(n))
	default:
		head = 10
		buf[headroom-9] = 127
		binary.BigEndian.PutUint64(buf[headroom-8:], uint64(n))
	}
	buf[headroom-head] = finBit | opcode
	return &Frame{b: buf[headroom-head:], head: int32(head)}
}

// copyFrame makes a frame of bytes that are framed already.
func copyFrame(p []byte) *Frame {
	return &Frame{b: append([]byte(nil), p...)}
}

// closeFrames is an error event and the close frame that follows it, as one
// unit, so that nothing can come between them.
func closeFrames(d pusher.Dialect, code pusher.CloseCode) *Frame {
	return closeFramesSaying(d, code, code.Message())
}

func closeFramesSaying(d pusher.Dialect, code pusher.CloseCode, reason string) *Frame {
	buf := newBuffer(160)
	buf = pusher.AppendControl(buf, d, &pusher.Control{
		Event:  "error",
		Object: pusher.AppendErrorData(nil, pusher.ErrorCode(code), reason),
	})
	f := seal(buf, opText)
	f.b = append(f.b, closeFrameOf(uint16(code), reason).b...)
	f.head = 0
	return f
}

// closeFrameOf is a close frame. The reason is cut at a rune border: a close
// payload is limited to 125 bytes and must be valid UTF-8.
func closeFrameOf(code uint16, reason string) *Frame {
	for len(reason) > 123 {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	buf := newBuffer(2 + len(reason))
	buf = binary.BigEndian.AppendUint16(buf, code)
	return seal(append(buf, reason...), opClose)
}
