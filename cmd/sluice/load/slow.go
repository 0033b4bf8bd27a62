package load

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// slowBuffer is the kernel's receive buffer of a slow connection in bytes, so that the server notices it soon.
const slowBuffer = 4 << 10

// slow is the run of the kind Slow: the same load twice, without and with slow subscribers.
func (r *Run) slow(ctx context.Context) error {
	d, f, p, err := r.audience(ctx)
	if p == nil {
		return err
	}
	defer f.close()
	defer p.close()
	half := max(r.opt.Duration/2, 50*time.Millisecond)
	if err := r.measure(ctx, d, f, p, " without slow ones", r.opt.Warmup, half); err != nil || stopped(ctx) {
		r.published(p)
		return err
	}
	slow := r.newFleet(r.opt.SlowConnections)
	slow.dialer = &net.Dialer{KeepAlive: -1}
	slow.wrap = func(c net.Conn) net.Conn {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetReadBuffer(slowBuffer)
		}
		return newTrickle(c, r.opt.SlowRate)
	}
	var read atomic.Int64
	slow.take = func(*member, int, time.Duration, int) { read.Add(1) }
	defer slow.close()
	there := slow.connect(ctx, "slow subscriber")
	err = r.measure(ctx, d, f, p, " beside slow ones", r.opt.Warmup, half)
	r.number("slow subscribers", "", float64(there), "")
	r.number("slow subscribers that the server closed", "", float64(slow.ended()), "")
	r.number("deliveries to slow subscribers", "", float64(read.Load()), "")
	r.published(p)
	if n := f.ended(); n > 0 {
		r.note("%s that read as fast as it can ended while it was measured.", counted(n, "connection"))
	}
	if there > 0 && slow.ended() == 0 {
		r.note("the server closed no slow subscriber; whether it felt them depends on how much it and the systems between keep: raise --rate, --size or --duration, or lower --slow-rate.")
	}
	return err
}

// trickle is a connection that is read at a limited rate once the handshake is complete.
type trickle struct {
	net.Conn
	pause  time.Duration // per byte
	once   sync.Once
	closed chan struct{}
	// free is how many bytes are read without a limit: the handshake and the greeting.
	free int
}

const handshakeBytes = 2 << 10

func newTrickle(c net.Conn, rate int) *trickle {
	return &trickle{Conn: c, pause: time.Second / time.Duration(rate), closed: make(chan struct{}), free: handshakeBytes}
}

// Read implements [net.Conn]. It must not be called concurrently.
func (t *trickle) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b[:min(len(b), 512)])
	if t.free > 0 {
		t.free -= n
		return n, err
	}
	wait := time.NewTimer(t.pause * time.Duration(n))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-t.closed:
		return n, errors.Join(err, net.ErrClosed)
	}
	return n, err
}

// Close implements [net.Conn].
func (t *trickle) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Conn.Close()
}
