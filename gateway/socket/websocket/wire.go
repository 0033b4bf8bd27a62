package websocket

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/socket"
)

// Wire is the connection that the WebSocket library sees. After the handshake, what the library writes
// (pongs, close frames) goes through the outbox, so that there is one order and nothing blocks.
type Wire struct {
	net.Conn
	guard *Guard
	// sock is nil during the handshake.
	sock atomic.Pointer[socket.Socket]
}

// NewWire returns a wire that writes to conn until Upgraded. guard is what the library reads from.
func NewWire(conn net.Conn, guard *Guard) *Wire { return &Wire{Conn: conn, guard: guard} }

// Upgraded ends the handshake.
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

// unreadable returns what is wrong with a message that the library could not decompress or decode, judging by
// its close frame. For decompression, the library reports only an internal error.
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

// withoutReason removes the library's own reason from a close frame. Other frames are returned as they are.
func withoutReason(p []byte) []byte {
	if len(p) <= 4 || p[0] != Fin|Close {
		return p
	}
	return Closing(binary.BigEndian.Uint16(p[2:]), "").Bytes()
}

// Close closes the socket once its queue is empty. The reading goroutine closes the real connection.
func (w *Wire) Close() error {
	if s := w.sock.Load(); s != nil {
		s.End(nil)
		return nil
	}
	return w.Conn.Close()
}

// SetDeadline implements [net.Conn]. After the upgrade it does nothing, because the socket has its own
// deadlines.
func (w *Wire) SetDeadline(t time.Time) error {
	if w.sock.Load() != nil {
		return nil
	}
	return w.Conn.SetDeadline(t)
}

// SetWriteDeadline implements [net.Conn]; it does nothing.
func (w *Wire) SetWriteDeadline(time.Time) error { return nil }
