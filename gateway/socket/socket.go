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

// Kind is what sockets of one kind have in common. It must not change once a socket uses it.
type Kind struct {
	// Frames and Bytes bound the outbox of one socket. One frame always fits.
	Frames, Bytes int
	// Last replaces what waits for a socket that is closed because it does not read.
	Last *Frame
	// Form returns the form of a frame for these peers; nil means the frame as it is. The goroutine that
	// queues a frame calls it.
	Form func(*Frame) *Frame
}

// Socket is one connection: its descriptor for writes that do not block, and its outbox until Retire. All
// methods are safe for concurrent use, even when the connection is gone.
type Socket struct {
	conn   net.Conn
	writer *Writer
	kind   *Kind
	out    *Outbox
	// seen is when the peer last showed that it is alive, in Unix nanoseconds.
	seen atomic.Int64
	// former is the id of the peer's former connection, nil if the peer has not named one.
	former atomic.Pointer[string]

	mu rank.Mutex[rank.Descriptor]
	// fd is -1 if there is no descriptor to write to, and once it is closed. Bypassing the runtime's
	// bookkeeping of writes saves several percent of a fan-out. In return, the connection must be closed with
	// [Socket.Close].
	fd int
	// below is the connection below TLS, which has the descriptor then; nil without TLS.
	below  *Carrier
	closed bool
	// patient says that every write is left to a goroutine that may wait, whatever the peer takes.
	patient bool
}

// Patient is a connection without a descriptor, such as an answer of HTTP/2. That writing to it may wait says
// nothing about its peer.
type Patient interface{ WriteWaits() }

// descriptor returns the descriptor of a connection, or -1 if only its methods can write to it. A listener
// may have wrapped the connection, as long as the wrapper is a [syscall.Conn].
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

// ExpectAnswer makes the system give up a peer that has not acknowledged sent bytes for that long, where the
// system can do that. It is for peers that send nothing themselves.
func (s *Socket) ExpectAnswer(within time.Duration) {
	s.control(func(fd uintptr) { expectAnswer(int(fd), within) })
}

// Unread reports whether the peer has sent something that was not read yet, where the system can tell. A
// process that was suspended cannot conclude from the clock that its peer was silent.
func (s *Socket) Unread() (unread bool) {
	s.control(func(fd uintptr) { unread = waits(int(fd)) })
	return unread
}

// control calls f with the descriptor of the connection, unless it has none or is closed.
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

// Outbox returns the queue of the socket. It belongs to the socket until Retire.
func (s *Socket) Outbox() *Outbox { return s.out }

// Send queues a frame and tells the loop. It reports false if the socket accepts no more.
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

// End appends the last frame of the socket, even beyond the bound; nil for none. The socket is closed when
// everything was written.
func (s *Socket) End(f *Frame) {
	if s.out.end(f, s) {
		s.writer.loop.Mark(s.out)
	}
}

// giveUp closes the socket to make room for others.
func (s *Socket) giveUp(why Reason) {
	if s.out.giveUp(why, s) != Overflowed {
		return
	}
	s.writer.loop.Mark(s.out)
	// A write in progress gets less time than before.
	_ = s.conn.SetWriteDeadline(time.Now().Add(hurryTime))
}

// Succeeds sets the id of the former connection that the peer has named, empty for none. The last call
// counts.
func (s *Socket) Succeeds(id string) {
	if id == "" {
		s.former.Store(nil)
		return
	}
	s.former.Store(&id)
}

// Succeeded reports whether the peer has named the connection with this id as its former one.
func (s *Socket) Succeeded(id string) bool {
	if s == nil {
		return false
	}
	former := s.former.Load()
	return former != nil && *former == id
}

// Gone reports whether writing has failed, so that the peer gets nothing any more.
func (s *Socket) Gone() bool { return s.out.gone(s) }

// Alive notes that the peer showed that it is alive.
func (s *Socket) Alive() { s.seen.Store(s.writer.group.opt.Now().UnixNano()) }

// Seen returns when the peer last showed that it is alive, in Unix nanoseconds.
func (s *Socket) Seen() int64 { return s.seen.Load() }

// Shrink frees memory of the queue if nothing was queued since the last call.
func (s *Socket) Shrink() { s.out.shrink() }

// Retire gives the outbox back. Goroutines that push to it directly must have ended. The record is used again
// only when no list of the loop and no writer can refer to it any more.
func (s *Socket) Retire() {
	if s.out.retire() {
		s.writer.loop.Mark(s.out)
	}
}

// lingerBytes is how much of what a peer still sends is read and discarded before its connection is closed.
// Closing with unread bytes would send a reset, and the peer might lose the close frame: a message that was
// refused for its size may still be arriving.
const lingerBytes = 16 << 20

// Linger ends the socket, gives the peer a moment to read the last frames, and closes the connection. The
// goroutine that reads the connection calls it.
func (s *Socket) Linger() {
	s.End(nil)
	_ = s.conn.SetReadDeadline(time.Now().Add(s.writer.group.opt.Linger))
	_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
	s.Close()
}

// Close closes the connection. The descriptor may belong to another connection afterwards.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fd, s.closed = -1, true
	_ = s.conn.Close()
}

// Abort makes reads return at once.
func (s *Socket) Abort() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// finish ends the write side after the last frame and gives the peer some time to answer, because unread data
// of the peer would turn the close frame into a reset.
func (s *Socket) finish() {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if s.below != nil && s.below.waiting() > 0 { // The kernel had no room for the last bytes of TLS.
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

// tryWrite writes what the kernel takes at once. It returns errWouldBlock with the number of bytes that
// remain for a goroutine that may wait: the last ones of p, or with TLS the encrypted ones in the Carrier.
// Only one goroutine may write to a socket at a time.
func (s *Socket) tryWrite(p []byte) (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.below != nil {
		return s.seal(p)
	}
	if s.fd < 0 {
		// Without a descriptor (a stream of HTTP/2, other systems), every write may wait. So the goroutine of
		// the blocked socket writes, and also finds out whether the connection is closed.
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

// seal encrypts p and writes what the kernel takes at once. The caller holds the lock.
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

// writeSlowly writes all of p, and what is pending below TLS. It fails after SlowAge.
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
