package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The pauses between attempts to reconnect, like those of clients.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// reconnect is the run of the kind Reconnect: all connections are cut at once, and reconnect.
func (r *Run) reconnect(ctx context.Context) error {
	f := r.newFleet(r.opt.Connections)
	defer f.close()
	alive := f.connect(ctx, "subscriber")
	r.number("subscribers", "", float64(alive), "")
	if alive == 0 || stopped(ctx) {
		return nil
	}
	back := newRecorder("cut to subscribed again", 16)
	var tries, lost atomic.Int64
	var slowest, total time.Duration
	m := startMeter()
	rounds := 0
	for ; rounds < r.opt.Rounds && !stopped(ctx); rounds++ {
		took := r.storm(ctx, f, back, &tries, &lost, rounds)
		slowest, total = max(slowest, took), total+took
	}
	u := m.stop()
	r.result.Seconds = total.Seconds()
	g := &r.result.Generator
	g.Usage = u
	d := back.distribution()
	r.result.Distributions = append(r.result.Distributions, d)
	if d.Count > 0 {
		g.CPUPerMessage = 1e6 * u.CPU / float64(d.Count)
	}
	if total > 0 {
		r.number("subscribed again a second", "", float64(d.Count)/total.Seconds(), "more")
	}
	r.number("slowest round", "s", slowest.Seconds(), "less")
	r.number("rounds", "", float64(rounds), "")
	r.number("further tries", "", float64(tries.Load()), "less")
	r.number("did not come back", "", float64(lost.Load()), "less")
	return nil
}

// storm is one round. It returns how long it took until the last connection was subscribed again.
func (r *Run) storm(ctx context.Context, f *fleet, back *recorder, tries, lost *atomic.Int64, round int) time.Duration {
	var there []*member
	var work sync.WaitGroup
	for _, m := range f.members {
		if m.conn != nil {
			there = append(there, m)
		}
	}
	for _, m := range there {
		work.Go(m.conn.cut)
	}
	work.Wait()
	from := r.now()
	var done atomic.Int64
	stop := r.progress(func() (float64, string) {
		return float64(done.Load()) / float64(len(there)), fmt.Sprintf("round %d: %d of %d are back, %s", round+1, done.Load(), len(there), errorsSoFar(r.failures()))
	})
	for i, m := range there {
		m.conn = nil
		due := from + time.Duration(float64(r.opt.Spread)*float64(i)/float64(len(there)))
		work.Go(func() {
			if r.comeBack(ctx, f, m, due, tries) {
				back.record(m.id, r.now()-due)
				done.Add(1)
			} else if !stopped(ctx) {
				lost.Add(1)
			}
		})
	}
	work.Wait()
	stop()
	return r.now() - from
}

// comeBack retries until a member is subscribed again.
func (r *Run) comeBack(ctx context.Context, f *fleet, m *member, due time.Duration, tries *atomic.Int64) bool {
	if wait := due - r.now(); wait > 0 && !rest(ctx, wait) {
		return false
	}
	r.late.record(0, r.now()-due)
	within, cancel := context.WithTimeout(ctx, r.opt.Timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := f.join(within, m)
		if err == nil {
			return true
		}
		if !stopped(ctx) {
			r.fail("reconnect", err)
		}
		if !rest(within, pause/2+rand.N(pause/2+1)) {
			return false
		}
		tries.Add(1)
	}
}
