package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// stretch is a measurement of deliveries: those of messages that were due in it.
type stretch struct {
	from, end time.Duration
	delivered *recorder
	count     atomic.Int64
}

// deliveries counts received messages for the present stretch. It has no lock, because the reading goroutines
// call it for each message.
type deliveries struct {
	run     *Run
	current atomic.Pointer[stretch]
}

func (d *deliveries) take(m *member, _ int, due time.Duration, _ int) {
	s := d.current.Load()
	if s == nil || due < s.from || due >= s.end {
		return
	}
	s.delivered.record(m.id, d.run.now()-due)
	s.count.Add(1)
}

// audience connects the subscribers and creates a publisher. The caller must close both. The publisher is nil
// after an error or without subscribers.
func (r *Run) audience(ctx context.Context) (*deliveries, *fleet, *publisher, error) {
	d := &deliveries{run: r}
	f := r.newFleet(r.opt.Connections)
	f.take = d.take
	alive := f.connect(ctx, "subscriber")
	r.number("subscribers", "", float64(alive), "")
	if alive == 0 || stopped(ctx) {
		f.close()
		return nil, nil, nil, nil
	}
	p, err := r.newPublisher()
	if err != nil {
		f.close()
		return nil, nil, nil, err
	}
	return d, f, p, nil
}

// subscribe is the run of the kinds Subscribe and Self.
func (r *Run) subscribe(ctx context.Context) error {
	d, f, p, err := r.audience(ctx)
	if p == nil {
		return err
	}
	defer f.close()
	defer p.close()
	if err := r.measure(ctx, d, f, p, "", r.opt.Warmup, r.opt.Duration); err != nil {
		return err
	}
	r.published(p)
	if n := f.ended(); n > 0 {
		r.note("%s ended while it was measured.", counted(n, "connection"))
	}
	return nil
}

// measure publishes, and adds the deliveries to the result, under names that end in when.
func (r *Run) measure(ctx context.Context, d *deliveries, f *fleet, p *publisher, when string, warmup, duration time.Duration) error {
	s := &stretch{delivered: newRecorder("publish to delivery"+when, 16)}
	for i := range p.stored {
		p.stored[i].Store(0)
	}
	subscribers := f.counts()
	sentBefore := p.sent.Load()
	m := startMeter()
	bytes := f.bytes.Load()
	begin := r.now()
	s.from, s.end = begin+warmup, begin+warmup+duration
	d.current.Store(s)
	end := p.publish(ctx, begin, s.from, s.end, func() (float64, string) {
		return float64(r.now()-begin) / float64(warmup+duration), fmt.Sprintf("%d sent, %d delivered, %s", p.sent.Load()-sentBefore, s.count.Load(), errorsSoFar(r.failures()))
	})
	expected := int64(0)
	for i := range p.stored {
		expected += p.stored[i].Load() * subscribers[i]
	}
	r.arrive(ctx, s, expected)
	u := m.stop()
	d.current.Store(nil)
	got, seconds := s.count.Load(), (end - s.from).Seconds()
	r.result.Seconds += seconds
	r.result.Distributions = append(r.result.Distributions, s.delivered.distribution())
	if seconds > 0 {
		r.number("deliveries a second"+when, "", float64(got)/seconds, "more")
		r.number("received"+when, "MB/s", float64(f.bytes.Load()-bytes)/(seconds+warmup.Seconds())/1e6, "")
	}
	r.number("missing deliveries"+when, "", float64(max(expected-got, 0)), "less")
	g := &r.result.Generator
	g.Usage = worse(g.Usage, u)
	if n := got + p.sent.Load() - sentBefore; n > 0 && seconds > 0 {
		// The processor time includes the warm-up, so its messages must count as well.
		g.CPUPerMessage = 1e6 * u.CPU / (float64(n) * (1 + warmup.Seconds()/seconds))
	}
	return nil
}

// arrive waits until all expected deliveries have arrived, at most Grace.
func (r *Run) arrive(ctx context.Context, s *stretch, expected int64) {
	if stopped(ctx) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.opt.Grace)
	defer cancel()
	for s.count.Load() < expected && rest(ctx, 5*time.Millisecond) {
	}
}

// published adds the numbers of the publisher to the result.
func (r *Run) published(p *publisher) {
	r.result.Distributions = append(r.result.Distributions, p.answered.distribution())
	if r.result.Seconds > 0 {
		r.number("published a second", "", float64(p.accepted.Load())/r.result.Seconds, "more")
	}
	r.number("not published", "", float64(p.sent.Load()-p.accepted.Load()), "less")
	r.result.Generator.Held += p.held.Seconds()
}

func errorsSoFar(n int) string { return counted(n, "error") }

// worse combines two measurements: it adds processor time, and takes the larger of the other values.
func worse(a, b Usage) Usage {
	return Usage{CPU: a.CPU + b.CPU, Cores: max(a.Cores, b.Cores), Machine: max(a.Machine, b.Machine), WaitP99: max(a.WaitP99, b.WaitP99)}
}

// publish is the run of the kind Publish.
func (r *Run) publish(ctx context.Context) error {
	p, err := r.newPublisher()
	if err != nil {
		return err
	}
	defer p.close()
	m := startMeter()
	begin := r.now()
	from := begin + r.opt.Warmup
	end := p.publish(ctx, begin, from, from+r.opt.Duration, func() (float64, string) {
		return float64(r.now()-begin) / float64(r.opt.Warmup+r.opt.Duration), fmt.Sprintf("%d answered, %s", p.accepted.Load(), errorsSoFar(r.failures()))
	})
	u := m.stop()
	r.result.Seconds = (end - from).Seconds()
	r.result.Generator.Usage = u
	r.published(p)
	if n := p.sent.Load(); n > 0 && r.result.Seconds > 0 {
		r.result.Generator.CPUPerMessage = 1e6 * u.CPU / (float64(n) * (1 + r.opt.Warmup.Seconds()/r.result.Seconds))
	}
	return nil
}
