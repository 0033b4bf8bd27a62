package socket

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// ownTalk bounds the bytes that TLS itself sends to a peer that takes nothing, in addition to frames: for
// example, answers to a peer that requests new keys again and again.
const ownTalk = 16 << 10

var errPending = errors.New("the peer takes nothing, and TLS has more to say to it")

// Carrier is the connection below TLS. Until a socket takes it over, it only passes calls on, and writing may
// wait. From then on, writing never waits, because a shard does it: TLS encrypts and hands over, and what the
// kernel does not take at once is kept here, in order, for the goroutine of the blocked socket. So bytes that
// the peer could not get wait in one place only, and frames that the kernel takes are not copied.
type Carrier struct {
	net.Conn

	mu rank.Mutex[rank.Carrier]
	// taken says that a socket has taken it over.
	taken bool
	// fd is -1 if there is no descriptor to write to, and once it is closed.
	fd int
	// pending is what was encrypted and not taken by the kernel. draining says that a part of that is being
	// written, so that nothing may overtake it.
	pending  []byte
	draining bool
	// limit bounds pending, in bytes.
	limit int
}

// NewCarrier returns the connection that TLS uses in place of conn.
func NewCarrier(conn net.Conn) *Carrier { return &Carrier{Conn: conn, fd: -1} }

// Secure returns a server connection that begins with a TLS handshake.
func Secure(conn net.Conn, config *tls.Config) *tls.Conn { return tls.Server(NewCarrier(conn), config) }

// Below returns the connection below TLS, or conn if it has no TLS.
func Below(conn net.Conn) net.Conn {
	if c := carrierOf(conn); c != nil {
		return c.Conn
	}
	return conn
}

// carrierOf returns the Carrier of a connection, nil if it has none.
func carrierOf(conn net.Conn) *Carrier {
	if t, is := conn.(*tls.Conn); is {
		c, _ := t.NetConn().(*Carrier)
		return c
	}
	return nil
}

// take makes writes no longer wait.
func (c *Carrier) take() {
	fd := descriptor(c.Conn)
	c.mu.Lock()
	c.taken, c.fd, c.limit = true, fd, ownTalk
	c.mu.Unlock()
}

// Write implements [net.Conn]. The TLS layer makes one call at a time.
func (c *Carrier) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.taken {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	defer c.mu.Unlock()
	n := 0
	if c.fd >= 0 && len(c.pending) == 0 && !c.draining {
		written, errno := writeOnce(uintptr(c.fd), p)
		if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
			return 0, errno
		}
		n = max(written, 0)
	}
	if len(c.pending)+len(p)-n > c.limit {
		return n, errPending
	}
	c.pending = append(c.pending, p[n:]...)
	return len(p), nil
}

// expect makes room for the encrypted form of n bytes, in case the kernel takes none of it.
func (c *Carrier) expect(n int) {
	c.mu.Lock()
	c.limit = n + n>>4 + ownTalk
	c.mu.Unlock()
}

// waiting returns how many bytes the kernel has not taken.
func (c *Carrier) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// drain writes what is pending, and waits until that is done.
func (c *Carrier) drain() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 0 {
		out := c.pending
		c.pending, c.draining = nil, true
		c.mu.Unlock()
		_, err := c.Conn.Write(out)
		c.mu.Lock()
		c.draining = false
		if err != nil {
			return err
		}
	}
	return nil
}

// farewell writes the last bytes of TLS, as far as that is possible within the time, and then ends the write
// side. Nothing is written afterwards.
func (c *Carrier) farewell(within time.Duration) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(within)) // TLS has set a deadline that has passed.
	if c.drain() == nil {
		c.shut()
	}
}

// shut ends the write side of the connection, unless bytes are still pending.
func (c *Carrier) shut() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.waiting() == 0 {
		_ = half.CloseWrite()
	}
}

// Close implements [net.Conn]. The descriptor may belong to another connection afterwards.
func (c *Carrier) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fd, c.pending = -1, nil
	return c.Conn.Close()
}
