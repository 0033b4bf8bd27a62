package rawio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a TCP connection. Its methods are safe for concurrent use.
type Conn struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out half

	// deadline is the write deadline. It is passed to the runtime only when a write has to wait; told records
	// that.
	mu       sync.Mutex
	deadline time.Time
	told     bool
}

// half is one direction of a connection. Its lock is held for the whole of a call.
type half struct {
	mu    sync.Mutex
	p     []byte
	n     int
	errno syscall.Errno
	// once and patient are called with the descriptor. once never waits.
	once, patient func(fd uintptr) bool
}

// New returns c as a Conn, or c itself if it is no TCP connection or the system is not Linux.
func New(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || !possible {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	conn := &Conn{TCPConn: tcp, raw: raw}
	in, out := &conn.in, &conn.out
	in.patient = func(fd uintptr) bool {
		in.n, in.errno = readOnce(fd, in.p)
		return in.errno != syscall.EAGAIN
	}
	out.patient = func(fd uintptr) bool { return out.write(fd) }
	out.once = func(fd uintptr) bool {
		out.write(fd)
		return true
	}
	return conn
}

// write writes the rest of p. It reports false if it has to wait for room in the kernel's buffer.
func (h *half) write(fd uintptr) bool {
	for h.n < len(h.p) {
		n, errno := writeOnce(fd, h.p[h.n:])
		if h.errno = errno; errno != 0 {
			return errno != syscall.EAGAIN
		}
		h.n += n
	}
	return true
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	h.p, h.n, h.errno = p, 0, 0
	err := c.raw.Read(h.patient)
	h.p = nil
	switch {
	case err != nil:
		return 0, c.failed("read", err)
	case h.errno != 0:
		return 0, c.failed("read", os.NewSyscallError("read", h.errno))
	case h.n == 0:
		return 0, io.EOF
	}
	return h.n, nil
}

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if full, err := c.begin(p); !full {
		return c.written(err)
	}
	return c.finish()
}

// TryWrite writes p if no other goroutine is writing and the kernel takes some of it at once; otherwise it
// returns false. It waits for up to within until the rest is written. If that fails, a part of p was written.
func (c *Conn) TryWrite(p []byte, within time.Duration) (done bool, err error) {
	h := &c.out
	if !h.mu.TryLock() {
		return false, nil
	}
	defer h.mu.Unlock()
	full, err := c.begin(p)
	if full && h.n == 0 {
		h.p = nil
		return false, nil
	}
	if full {
		c.mu.Lock()
		before, own := c.deadline, time.Now().Add(within)
		c.deadline = own
		c.mu.Unlock()
		_, err = c.finish()
		c.mu.Lock()
		if c.deadline.Equal(own) { // otherwise a waiting writer has set its own deadline
			c.deadline, c.told = before, !before.IsZero()
			_ = c.TCPConn.SetWriteDeadline(before)
		}
		c.mu.Unlock()
		return true, err
	}
	_, err = c.written(err)
	return true, err
}

// begin writes as much as the kernel takes at once, and reports whether its buffer is full. The caller holds
// the lock of the half.
func (c *Conn) begin(p []byte) (full bool, err error) {
	h := &c.out
	h.p, h.n, h.errno = p, 0, 0
	if err = c.late(); err == nil {
		err = c.raw.Write(h.once)
	}
	return err == nil && h.errno == syscall.EAGAIN, err
}

// finish waits until everything is written.
func (c *Conn) finish() (int, error) {
	c.out.errno = 0
	err := c.tell()
	if err == nil {
		err = c.raw.Write(c.out.patient)
	}
	return c.written(err)
}

// written returns the result of a write.
func (c *Conn) written(err error) (int, error) {
	h := &c.out
	h.p = nil
	switch {
	case err != nil:
		return h.n, c.failed("write", err)
	case h.errno != 0:
		return h.n, c.failed("write", os.NewSyscallError("write", h.errno))
	}
	return h.n, nil
}

// failed wraps an error like package net, with the name of the call.
func (c *Conn) failed(call string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		op.Op = call
		return op
	}
	return &net.OpError{Op: call, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline implements [net.Conn]. The runtime's timer is set only for a write that waits.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	// The runtime must be told now if a write may be waiting.
	if c.told || !c.out.mu.TryLock() {
		c.told = !t.IsZero()
		return c.TCPConn.SetWriteDeadline(t)
	}
	c.out.mu.Unlock()
	return nil
}

// late returns [os.ErrDeadlineExceeded] if the write deadline has passed.
func (c *Conn) late() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// tell passes the deadline to the runtime for a write that is about to wait.
func (c *Conn) tell() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = !c.deadline.IsZero()
	return c.TCPConn.SetWriteDeadline(c.deadline)
}

// ReadFrom implements [io.ReaderFrom].
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }

// WriteTo implements [io.WriterTo].
func (c *Conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }
