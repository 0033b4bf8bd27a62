package load

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// churn is the run of the kind Churn: connections that connect, subscribe, unsubscribe and leave.
func (r *Run) churn(ctx context.Context) error {
	whole, connected := newRecorder("whole visit", 8), newRecorder("due to greeting", 8)
	subscribed, left := newRecorder("subscribe to answer", 8), newRecorder("unsubscribe to pong", 8)
	var begun, done atomic.Int64
	visitor := func(ctx context.Context, n int, due time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, r.opt.Timeout)
		defer cancel()
		c, err := r.endpoint.dial(ctx, &net.Dialer{KeepAlive: -1}, nil, func([]byte) bool { return false })
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer c.close()
		greeted, channel := r.now(), r.channels[n%len(r.channels)]
		connected.record(n, greeted-due)
		if err := c.subscribe(ctx, &r.opt.Target, channel, n); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		in := r.now()
		subscribed.record(n, in-greeted)
		if err := c.leave(ctx, channel); err != nil {
			return fmt.Errorf("unsubscribe: %w", err)
		}
		out := r.now()
		left.record(n, out-in)
		whole.record(n, out-due)
		return nil
	}
	m, from := startMeter(), r.now()
	end := from + r.opt.Duration
	stop := r.progress(func() (float64, string) {
		return float64(r.now()-from) / float64(r.opt.Duration), fmt.Sprintf("%d of %d visits ended, %s", done.Load(), begun.Load(), errorsSoFar(r.failures()))
	})
	d := r.dispatcher(r.opt.Rate, r.opt.InFlight, r.late)
	var work sync.WaitGroup
	held := d.run(ctx, from, end, func(n int, due time.Duration) {
		begun.Add(1)
		work.Go(func() {
			defer func() { <-d.places }()
			// A visit that has begun is completed, even after an interruption.
			if err := visitor(context.WithoutCancel(ctx), n, due); err != nil {
				r.fail("visit", err)
				return
			}
			done.Add(1)
		})
	})
	if stopped(ctx) {
		end = r.now()
	}
	work.Wait()
	stop()
	g := &r.result.Generator
	g.Usage, g.Held = m.stop(), held.Seconds()
	r.result.Seconds = (end - from).Seconds()
	if n := begun.Load(); n > 0 {
		g.CPUPerMessage = 1e6 * g.Usage.CPU / float64(n)
	}
	for _, of := range []*recorder{whole, connected, subscribed, left} {
		r.result.Distributions = append(r.result.Distributions, of.distribution())
	}
	if r.result.Seconds > 0 {
		r.number("visits a second", "", float64(done.Load())/r.result.Seconds, "more")
	}
	r.number("visits that failed", "", float64(begun.Load()-done.Load()), "less")
	return nil
}
