package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// member is one subscriber. It keeps its channel over several connections.
type member struct {
	id      int
	channel int
	conn    *conn // nil without a connection
}

// fleet is a group of subscribers.
type fleet struct {
	run     *Run
	members []*member
	dialer  *net.Dialer
	wrap    func(net.Conn) net.Conn
	// take gets each message of the run, from the reading goroutine.
	take func(m *member, channel int, due time.Duration, size int)
	// bytes is the size of all received messages.
	bytes atomic.Int64
}

func (r *Run) newFleet(n int) *fleet {
	f := &fleet{run: r, dialer: &net.Dialer{KeepAlive: -1}, members: make([]*member, n)}
	for i := range f.members {
		f.members[i] = &member{id: i, channel: i % len(r.channels)}
	}
	return f
}

// connect opens all connections at the rate of ConnectRate, and subscribes them. It returns their number; failed
// ones are counted as errors.
func (f *fleet) connect(outer context.Context, what string) int {
	var done, alive atomic.Int64
	var work sync.WaitGroup
	d := f.run.dispatcher(f.run.opt.ConnectRate, 256, newRecorder("", 1))
	from := f.run.now()
	ticking := f.run.progress(func() (float64, string) {
		n := done.Load()
		return float64(n) / float64(len(f.members)), counted(int(n), what) + " connected"
	})
	end := from + d.pace.due(len(f.members))
	d.run(outer, from, end, func(n int, _ time.Duration) {
		work.Go(func() {
			defer func() { <-d.places; done.Add(1) }()
			ctx, cancel := context.WithTimeout(outer, f.run.opt.Timeout)
			defer cancel()
			if err := f.join(ctx, f.members[n]); err == nil {
				alive.Add(1)
			} else if !stopped(outer) {
				f.run.fail("connect", err)
			}
		})
	})
	work.Wait()
	ticking()
	return int(alive.Load())
}

// join connects a member and subscribes it.
func (f *fleet) join(ctx context.Context, m *member) error {
	c, err := f.run.endpoint.dial(ctx, f.dialer, f.wrap, func(frame []byte) bool {
		channel, due, ours := f.run.marker.find(frame)
		if ours && f.take != nil {
			f.bytes.Add(int64(len(frame)))
			f.take(m, channel, due, len(frame))
		}
		return ours
	})
	if err != nil {
		return err
	}
	if err := c.subscribe(ctx, &f.run.opt.Target, f.run.channels[m.channel], m.id); err != nil {
		c.cut()
		return err
	}
	m.conn = c
	return nil
}

// counts returns the number of subscribers of each channel.
func (f *fleet) counts() []int64 {
	out := make([]int64, len(f.run.channels))
	for _, m := range f.members {
		if m.conn != nil && m.conn.open() {
			out[m.channel]++
		}
	}
	return out
}

// ended returns how many connections have ended.
func (f *fleet) ended() (n int) {
	for _, m := range f.members {
		if m.conn != nil && !m.conn.open() {
			n++
		}
	}
	return n
}

// close closes all connections.
func (f *fleet) close() {
	var work sync.WaitGroup
	places := make(chan struct{}, 256)
	for _, m := range f.members {
		if m.conn == nil {
			continue
		}
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			m.conn.close()
			m.conn = nil
		})
	}
	work.Wait()
}
