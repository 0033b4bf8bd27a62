package streams

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rawio"
)

// A server may stop reading: it is stopped, cut off, or behind a proxy that hangs. The library writes with
// its lock held, and all that it is asked needs that lock. So those who publish wait before it, each for
// his own time, and a connection on which nothing moves any more is given up.

const (
	// glance is how long a write waits until it looks whether anything moves.
	glance = 50 * time.Millisecond
	// stillGlances is how many of them in a row may find that nothing does, which is 3 s: TCP sends a lost
	// packet again within that several times. A server in the same process is slow rather
	// than away, so it has a minute.
	stillGlances       = int(3 * time.Second / glance)
	stillGlancesWithin = int(time.Minute / glance)
)

// errStill says that the server takes nothing.
var errStill = errors.New("the NATS server takes nothing of what is written")

// carry writes p. The lock is held.
func (w *carrier) carry(p []byte) (n int, err error) {
	if raw, ok := w.Conn.(*rawio.Conn); ok {
		n, err = raw.TryWrite(p)
	} else if n, err = w.glance(p); errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return w.rest(p, n, err)
}

// rest writes what is left of p behind its first n bytes, unless writing those has failed. It waits as long
// as anything moves, however slowly. If it fails the connection is closed, for a part may have been written. The lock is held.
func (w *carrier) rest(p []byte, n int, err error) (int, error) {
	if err == nil && n < len(p) {
		open := make(chan struct{})
		w.full.Store(&open)
		n, err = w.insist(p, n)
		w.full.Store(nil)
		close(open)
	}
	if err != nil {
		why := err // which is kept only here
		w.why.CompareAndSwap(nil, &why)
		_ = w.Close()
	}
	return n, err
}

// glance writes p for a moment.
func (w *carrier) glance(p []byte) (int, error) {
	_ = w.Conn.SetWriteDeadline(time.Now().Add(glance))
	defer func() { _ = w.Conn.SetWriteDeadline(time.Time{}) }()
	return w.Conn.Write(p)
}

// insist writes what is left of p behind its first n bytes as long as anything moves.
func (w *carrier) insist(p []byte, n int) (int, error) {
	left := w.unsent()
	for still := 0; still < w.glances; still++ {
		wrote, err := w.glance(p[n:])
		if n += wrote; n == len(p) || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		now := w.unsent()
		if wrote > 0 || now < left {
			still = -1
		}
		left = now
	}
	return n, errStill
}

// unsent is what the kernel keeps of what was written, as far as it says so. It makes room for more only
// once a good part of it is gone, so that on a slow line a write waits long although all is well.
func (w *carrier) unsent() int {
	if c, ok := w.Conn.(interface{ Unsent() int }); ok {
		return c.Unsent()
	}
	return 0
}

// Close implements [net.Conn].
func (w *carrier) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

// established notes that the library is connected.
func (k *link) established() {
	if w := k.line.Load(); w != nil {
		w.up.Store(true)
	}
}

// connected says whether there is a connection. It waits for nothing.
func (k *link) connected() bool {
	c, w := k.now.Load(), k.line.Load()
	return c != nil && w != nil && w.up.Load() && !w.closed.Load()
}

// flows says whether there is a connection that takes what is written.
func (k *link) flows() bool { return k.connected() && k.line.Load().full.Load() == nil }

// pass waits until the connection takes what is written. Errors: one of the context, and that of the
// library if there is no connection.
func (k *link) pass(ctx context.Context) error {
	if w := k.line.Load(); w != nil {
		if full := w.full.Load(); full != nil {
			select {
			case <-*full:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if !k.connected() {
		return nats.ErrReconnectBufExceeded
	}
	return nil
}
