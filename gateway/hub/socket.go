package hub

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is the write side of one connection: the real connection, and a bound
// callback for non-blocking writes so that none is allocated per write.
type socket struct {
	conn net.Conn
	raw  syscall.RawConn
	// call hands buf to the kernel once, without waiting.
	call  func(fd uintptr) bool
	buf   []byte
	n     int
	errno syscall.Errno
}

func newSocket(conn net.Conn) *socket {
	s := &socket{conn: conn}
	if !rawWrites {
		return s
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return s
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return s
	}
	s.raw = raw
	s.call = func(fd uintptr) bool {
		s.n, s.errno = writeOnce(fd, s.buf)
		return true
	}
	return s
}

var errWouldBlock = errors.New("the kernel took no more")

// tryWrite writes what the kernel takes at once. It returns errWouldBlock with
// the number of bytes taken when that is not everything. Only one goroutine may
// write to a socket at a time.
func (s *socket) tryWrite(p []byte) (int, error) {
	if s.raw == nil {
		// Without a raw descriptor (TLS, other systems) every write may wait,
		// so it is left to the goroutine of the blocked socket.
		return 0, errWouldBlock
	}
	s.buf = p
	err := s.raw.Write(s.call)
	s.buf = nil
	if err != nil {
		return 0, err
	}
	switch {
	case s.errno == syscall.EAGAIN || s.errno == syscall.EINTR:
		return 0, errWouldBlock
	case s.errno != 0:
		return 0, s.errno
	case s.n < len(p):
		return s.n, errWouldBlock
	}
	return s.n, nil
}

// writeWithin writes all of p or fails after the given time.
func (s *socket) writeWithin(p []byte, d time.Duration) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(d))
	_, err := s.conn.Write(p)
	return err
}

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
	if !w.client.send(copyFrame(p)) {
		return 0, net.ErrClosed
	}
	return len(p), nil
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
