package websocket

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/socket"
)

// Wire is the connection that a WebSocket library sees. Once the handshake is
// through, what the library writes (pongs, close frames) goes through the
// outbox, so that there is one order and nothing blocks.
type Wire struct {
	net.Conn
	guard *Guard
	// sock is nil during the handshake.
	sock atomic.Pointer[socket.Socket]
}

// NewWire passes a handshake through. guard is what the library reads from.
func NewWire(conn net.Conn, guard *Guard) *Wire { return &Wire{Conn: conn, guard: guard} }

// Upgraded is called when the handshake is through.
func (w *Wire) Upgraded(s *socket.Socket) { w.sock.Store(s) }

// Write implements [net.Conn].
func (w *Wire) Write(p []byte) (int, error) {
	s := w.sock.Load()
	if s == nil {
		return w.Conn.Write(p)
	}
	if b := unreadable(p); b != nil {
		w.guard.peer.Refuse(b)
		return len(p), nil
	}
	if !s.Send(socket.NewFrame(bytes.Clone(withoutReason(p)), 0)) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// unreadable says what is wrong with a message that the library could not inflate or
// decode. It has no other word for the first than an internal error.
func unreadable(p []byte) *BadFrame {
	const internalError = 1011
	if len(p) < 4 || p[0] != Fin|Close {
		return nil
	}
	switch code := binary.BigEndian.Uint16(p[2:]); {
	case code == closeInvalidData:
		return notText
	case code != internalError:
		return nil
	case bytes.Contains(p, []byte("too large")):
		return TooLarge
	}
	return notInflated
}

// withoutReason takes what the library says of itself out of a close frame, as that the
// connection has ended. Other frames stay as they are.
func withoutReason(p []byte) []byte {
	if len(p) <= 4 || p[0] != Fin|Close {
		return p
	}
	return Closing(binary.BigEndian.Uint16(p[2:]), "").Bytes()
}

// Close lets the queue run empty first; the reading goroutine closes the real
// connection.
func (w *Wire) Close() error {
	if s := w.sock.Load(); s != nil {
		s.End(nil)
		return nil
	}
	return w.Conn.Close()
}

// SetDeadline implements [net.Conn]. Once upgraded, the socket has deadlines of its own.
func (w *Wire) SetDeadline(t time.Time) error {
	if w.sock.Load() != nil {
		return nil
	}
	return w.Conn.SetDeadline(t)
}

// SetWriteDeadline implements [net.Conn]; it does nothing.
func (w *Wire) SetWriteDeadline(time.Time) error { return nil }
