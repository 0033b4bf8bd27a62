package hub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is the write side of one connection: the real connection, and its
// descriptor for non-blocking writes. Going past the runtime's own bookkeeping of a
// write is worth several percent of a fan-out; in return whoever closes the
// connection must do it here.
type socket struct {
	conn net.Conn

	mu sync.Mutex
	// fd is -1 if there is no descriptor to write to, and once it is closed.
	fd int
}

func newSocket(conn net.Conn) *socket {
	s := &socket{conn: conn, fd: -1}
	// A listener may have wrapped the connection, with what it is still in reach.
	tcp, ok := conn.(syscall.Conn)
	if !rawWrites || !ok {
		return s
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return s
	}
	_ = raw.Control(func(fd uintptr) { s.fd = int(fd) })
	return s
}

var errWouldBlock = errors.New("the kernel took no more")

// tryWrite writes what the kernel takes at once. It returns errWouldBlock with
// the number of bytes taken when that is not everything. Only one goroutine may
// write to a socket at a time.
func (s *socket) tryWrite(p []byte) (int, error) {
	s.mu.Lock()
	if s.fd < 0 {
		// Without a descriptor (TLS, other systems) every write may wait, so
		// it is left to the goroutine of the blocked socket, and so is the
		// error of a closed one.
		s.mu.Unlock()
		return 0, errWouldBlock
	}
	n, errno := writeOnce(uintptr(s.fd), p)
	s.mu.Unlock()
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, errWouldBlock
	case errno != 0:
		return 0, errno
	case n < len(p):
		return n, errWouldBlock
	}
	return n, nil
}

// close closes the connection. The descriptor may name another one afterwards.
func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fd = -1
	_ = s.conn.Close()
}

// writeWithin writes all of p or fails after the given time.
func (s *socket) writeWithin(p []byte, d time.Duration) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(d))
	_, err := s.conn.Write(p)
	return err
}

// hurry gives a write that is under way less time than it had.
func (s *socket) hurry(d time.Duration) { _ = s.conn.SetWriteDeadline(time.Now().Add(d)) }

// finish ends the write side after the last frame and gives the peer some time
// to answer, so that unread data of the peer does not turn the close frame into
// a reset.
func (s *socket) finish(linger time.Duration) {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(linger))
}

// abort makes the read side return at once.
func (s *socket) abort() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// wire is the connection that the WebSocket library sees. Once the handshake is
// through, what the library writes (pongs, close frames) goes through the
// outbox, so that there is one order and nothing blocks.
type wire struct {
	net.Conn
	client   *Client
	upgraded atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.upgraded.Load() {
		return w.Conn.Write(p)
	}
	if b := unreadable(p); b != nil {
		w.client.refuseFrame(b)
		return len(p), nil
	}
	if !w.client.send(copyFrame(withoutReason(p))) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// unreadable says what is wrong with a message that the library could not inflate or
// decode. It has no other word for the first than an internal error.
func unreadable(p []byte) *badFrame {
	const internalError = 1011
	if len(p) < 4 || p[0] != finBit|opClose {
		return nil
	}
	switch code := binary.BigEndian.Uint16(p[2:]); {
	case code == closeInvalidData:
		return frameNotText
	case code != internalError:
		return nil
	case bytes.Contains(p, []byte("too large")):
		return frameTooLarge
	}
	return frameNotInflate
}

// withoutReason takes what the library says of itself out of a close frame, as that the
// connection has ended. Other frames stay as they are.
func withoutReason(p []byte) []byte {
	if len(p) <= 4 || p[0] != finBit|opClose {
		return p
	}
	return closeFrameOf(binary.BigEndian.Uint16(p[2:]), "").b
}

// Close lets the queue run empty first; the reading goroutine closes the real
// connection.
func (w *wire) Close() error {
	if !w.upgraded.Load() {
		return w.Conn.Close()
	}
	w.client.closeAfterFlush()
	return nil
}

func (w *wire) SetDeadline(t time.Time) error {
	if !w.upgraded.Load() {
		return w.Conn.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(time.Time) error { return nil }
