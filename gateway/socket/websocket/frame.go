// Package websocket has what is specific to WebSocket: the rules of a handshake, the headers of frames in
// both directions, close frames (RFC 6455), and per-message compression (RFC 7692).
//
// A library does the handshake and reads messages. It reads from a [Guard], which checks frames before the
// library sees them, and writes to a [Wire], which puts what it writes into the socket's outbox. The package
// does not know who the peer is or what its messages say; see [Peer].
package websocket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/socket"
)

// headroom is the space before a payload for the largest header of an unmasked frame (RFC 6455 section 5.2).
const headroom = 10

// Opcode is the type of a frame.
type Opcode = byte

// The opcodes, and Fin, the bit of the first byte that marks the last frame of a message.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa

	Fin = 0x80
)

// Buffer returns a buffer to which a payload is appended before [Seal].
func Buffer(capacity int) []byte { return make([]byte, headroom, headroom+capacity) }

// Size returns the size of the payload in such a buffer.
func Size(buf []byte) int { return len(buf) - headroom }

// Seal makes a frame of a buffer, which it keeps.
func Seal(buf []byte, op Opcode) *socket.Frame { return seal(buf, Fin|op) }

func seal(buf []byte, first byte) *socket.Frame {
	n := Size(buf)
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
	buf[headroom-head] = first
	return socket.NewFrame(buf[headroom-head:], head)
}

// Closing returns a close frame. It cuts the reason between runes: a close payload is limited to 125 bytes
// and must be valid UTF-8.
func Closing(code uint16, reason string) *socket.Frame {
	for len(reason) > 123 {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	buf := Buffer(2 + len(reason))
	buf = binary.BigEndian.AppendUint16(buf, code)
	return Seal(append(buf, reason...), Close)
}
