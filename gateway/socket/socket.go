package socket

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Kind is what sockets have in common that speak alike. It must not change once a socket
// has it.
type Kind struct {
	// Frames and Bytes bound what waits for one socket. One frame always fits.
	Frames, Bytes int
	// Last is what a socket gets that is closed because it does not read, in place of
	// what waits for it.
	Last *Frame
	// Form returns the form of a frame in which the peers take it; nil for the frame as it
	// is. Whoever queues a frame calls it.
	Form func(*Frame) *Frame
}

// Socket is one connection: its descriptor for writes that do not block, and its outbox
// for as long as it has one. All methods may be called from any goroutine, also when it is
// gone.
type Socket struct {
	conn   net.Conn
	writer *Writer
	kind   *Kind
	out    *Outbox
	// seen is when the peer last showed life, in Unix nanoseconds.
	seen atomic.Int64
	// former is the id of the connection that the peer had before, nil if it did not say.
	former atomic.Pointer[string]

	mu rank.Mutex[rank.Descriptor]
	// fd is -1 if there is no descriptor to write to, and once it is closed. Going past
	// the runtime's own bookkeeping of a write is worth several percent of a fan-out; in
	// return whoever closes the connection must do it here.
	fd int
	// below is the connection below TLS, which has the descriptor then; nil without TLS.
	below  *Carrier
	closed bool
	// patient says that every write is left to who can wait, whatever the peer takes.
	patient bool
}

// Patient is a connection that has no descriptor by its nature, such as an answer of HTTP/2. That
// writing to it may wait says nothing about its peer.
type Patient interface{ WriteWaits() }

// descriptor is that of a connection, or -1 if it can only be written to by its methods. A
// listener may have wrapped the connection, with what it is still in reach.
func descriptor(conn net.Conn) int {
	at := -1
	tcp, ok := conn.(syscall.Conn)
	if !rawWrites || !ok {
		return at
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return at
	}
	_ = raw.Control(func(fd uintptr) { at = int(fd) })
	return at
}

// ExpectAnswer gives up a peer that does not acknowledge for so long what it was sent, where the
// system can do that. It is for peers that send nothing themselves.
func (s *Socket) ExpectAnswer(within time.Duration) {
	s.control(func(fd uintptr) { expectAnswer(int(fd), within) })
}

// Unread says whether the peer has sent something that nobody has read yet, where the system can tell: a
// process that stood still cannot say by the clock that its peer was silent.
func (s *Socket) Unread() (unread bool) {
	s.control(func(fd uintptr) { unread = waits(int(fd)) })
	return unread
}

// control calls f with the descriptor of the connection, unless that has none or is closed.
func (s *Socket) control(f func(fd uintptr)) {
	conn := s.conn
	if s.below != nil {
		conn = s.below.Conn
	}
	if tcp, ok := conn.(syscall.Conn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(f)
		}
	}
}

// Outbox is the queue of the socket. It belongs to the socket until Retire.
func (s *Socket) Outbox() *Outbox { return s.out }

// Send queues a frame and tells the loop. It reports false when the socket takes no more.
func (s *Socket) Send(f *Frame) bool {
	switch s.out.push(s.kind, f, s) {
	case Dropped:
		return false
	case Wakes:
		s.writer.loop.Mark(s.out)
	case Overflowed:
		s.writer.loop.Mark(s.out)
		return false
	}
	return true
}

// End appends the last frame that the socket will get, whatever the bound; nil for none.
// The socket is closed when everything is out.
func (s *Socket) End(f *Frame) {
	if s.out.end(f, s) {
		s.writer.loop.Mark(s.out)
	}
}

// giveUp closes the socket for the good of the others.
func (s *Socket) giveUp(why Reason) {
	if s.out.giveUp(why, s) != Overflowed {
		return
	}
	s.writer.loop.Mark(s.out)
	// A write that is under way has less time than it had.
	_ = s.conn.SetWriteDeadline(time.Now().Add(hurryTime))
}

// Succeeds notes the id of the connection that the peer says it had before, empty for none. The last one
// counts.
func (s *Socket) Succeeds(id string) {
	if id == "" {
		s.former.Store(nil)
		return
	}
	s.former.Store(&id)
}

// Succeeded tells whether the peer says that it had the connection with this id before.
func (s *Socket) Succeeded(id string) bool {
	if s == nil {
		return false
	}
	former := s.former.Load()
	return former != nil && *former == id
}

// Gone tells that writing has failed: the peer takes nothing any more.
func (s *Socket) Gone() bool { return s.out.gone(s) }

// Alive notes that the peer showed life.
func (s *Socket) Alive() { s.seen.Store(s.writer.group.opt.Now().UnixNano()) }

// Seen is when it last did, in Unix nanoseconds.
func (s *Socket) Seen() int64 { return s.seen.Load() }

// Shrink gives memory of the queue back if nothing was queued since the last call.
func (s *Socket) Shrink() { s.out.shrink() }

// Retire gives the outbox back. Whoever pushes to it directly must have ended. It is used
// again only when no list of the loop and no writer can know it any more.
func (s *Socket) Retire() {
	if s.out.retire() {
		s.writer.loop.Mark(s.out)
	}
}

// lingerBytes is how much of what a peer still sends is read and thrown away before its connection is closed. To
// close with bytes unread would send a reset, and the peer might lose the close frame: a message that is refused for
// its size may be on its way as a whole.
const lingerBytes = 16 << 20

// Linger ends the socket, gives the peer a moment to read what was sent last, and closes. The
// goroutine that reads the connection calls it.
func (s *Socket) Linger() {
	s.End(nil)
	_ = s.conn.SetReadDeadline(time.Now().Add(s.writer.group.opt.Linger))
	_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
	s.Close()
}

// Close closes the connection. The descriptor may name another one afterwards.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fd, s.closed = -1, true
	_ = s.conn.Close()
}

// Abort makes the read side return at once.
func (s *Socket) Abort() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// finish ends the write side after the last frame and gives the peer some time
// to answer, so that unread data of the peer does not turn the close frame into
// a reset.
func (s *Socket) finish() {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if s.below != nil && s.below.waiting() > 0 { // The kernel had no room for the farewell of TLS.
		s.writer.group.blocked.Add(1)
		go func() {
			defer s.writer.group.blocked.Done()
			s.below.farewell(s.writer.group.opt.Linger)
		}()
	} else if s.below != nil {
		s.below.shut()
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(s.writer.group.opt.Linger))
}

var errWouldBlock = errors.New("the kernel took no more")

// tryWrite writes what the kernel takes at once. It returns errWouldBlock with the number of
// bytes that wait for somebody who can wait: the last ones of p, or, with TLS, encrypted ones
// below it. Only one goroutine may write to a socket at a time.
func (s *Socket) tryWrite(p []byte) (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.below != nil {
		return s.seal(p)
	}
	if s.fd < 0 {
		// Without a descriptor (a stream of HTTP/2, other systems) every write may wait,
		// so it is left to the goroutine of the blocked socket, and so is the error of a
		// closed one.
		return len(p), errWouldBlock
	}
	n, errno := writeOnce(uintptr(s.fd), p)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return len(p), errWouldBlock
	case errno != 0:
		return 0, errno
	case n < len(p):
		return len(p) - n, errWouldBlock
	}
	return 0, nil
}

// seal encrypts p and writes what the kernel takes at once. It holds the lock.
func (s *Socket) seal(p []byte) (left int, err error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	s.below.expect(len(p))
	if _, err := s.conn.Write(p); err != nil {
		return 0, err
	}
	if left = s.below.waiting(); left > 0 {
		return left, errWouldBlock
	}
	return 0, nil
}

// writeSlowly writes all of p, and what waits below TLS, or fails after the time that a slow
// socket has.
func (s *Socket) writeSlowly(p []byte) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.writer.group.opt.SlowAge))
	if s.below != nil {
		s.below.expect(len(p))
	}
	if len(p) > 0 {
		if _, err := s.conn.Write(p); err != nil {
			return err
		}
	}
	if s.below != nil {
		return s.below.drain()
	}
	return nil
}
