package socket

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// ownTalk bounds what the TLS layer says on its own to a peer that takes nothing, beside the
// frames: answers to a peer that wants other keys again and again.
const ownTalk = 16 << 10

var errPending = errors.New("the peer takes nothing, and TLS has more to say to it")

// Carrier is the connection below TLS. Until a socket takes it over it is that connection, and
// writing waits. From then on writing never waits, because a shard does it: the TLS layer
// encrypts and hands over, and what the kernel does not take at once is kept here, in order,
// for the goroutine of the blocked socket. So there is one place where bytes wait that the
// peer could not get, and nothing of the frames is copied that the kernel takes.
type Carrier struct {
	net.Conn

	mu rank.Mutex[rank.Carrier]
	// taken says that a socket has it.
	taken bool
	// fd is -1 if there is no descriptor to write to, and once it is closed.
	fd int
	// pending is what was encrypted and not taken; draining says that a part of it is on its
	// way, so that nothing may overtake it.
	pending  []byte
	draining bool
	// limit is how much may wait.
	limit int
}

// NewCarrier is what the TLS layer of a connection writes to and reads from.
func NewCarrier(conn net.Conn) *Carrier { return &Carrier{Conn: conn, fd: -1} }

// Secure is a connection of a server that begins with a TLS handshake.
func Secure(conn net.Conn, config *tls.Config) *tls.Conn { return tls.Server(NewCarrier(conn), config) }

// Below is the connection below TLS, or the connection itself if there is none.
func Below(conn net.Conn) net.Conn {
	if c := carrierOf(conn); c != nil {
		return c.Conn
	}
	return conn
}

// carrierOf is that of a connection, nil if it has none.
func carrierOf(conn net.Conn) *Carrier {
	if t, is := conn.(*tls.Conn); is {
		c, _ := t.NetConn().(*Carrier)
		return c
	}
	return nil
}

// take makes writing wait no more.
func (c *Carrier) take() {
	fd := descriptor(c.Conn)
	c.mu.Lock()
	c.taken, c.fd, c.limit = true, fd, ownTalk
	c.mu.Unlock()
}

// Write implements [net.Conn]. The TLS layer calls it, one call at a time.
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

// expect makes room for n bytes that will be encrypted, if nothing of them is taken.
func (c *Carrier) expect(n int) {
	c.mu.Lock()
	c.limit = n + n>>4 + ownTalk
	c.mu.Unlock()
}

// waiting is how much was not taken.
func (c *Carrier) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// drain writes what waits, and waits for that.
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

// farewell writes what TLS had to say last, as far as that can be done within a time, and ends the write side
// behind it. Nothing is said afterwards.
func (c *Carrier) farewell(within time.Duration) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(within)) // TLS has set one that is over.
	if c.drain() == nil {
		c.shut()
	}
}

// shut ends the write side of the connection, unless something waits that TLS has to say.
func (c *Carrier) shut() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.waiting() == 0 {
		_ = half.CloseWrite()
	}
}

// Close implements [net.Conn]. The descriptor may name another connection afterwards.
func (c *Carrier) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fd, c.pending = -1, nil
	return c.Conn.Close()
}
