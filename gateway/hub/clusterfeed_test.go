package hub

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/turns"
)

// simGateway is a gateway with its simulated feed.
type simGateway struct {
	hub      *Hub
	registry *prometheus.Registry
	log      *simLog
	channel  *Channel
	// served is closed when the first subscription could be served.
	served chan struct{}

	// The state of the feed. queue holds the publications on their way, last is the offset delivered last;
	// lossy loses live messages, late delays them.
	mu    sync.Mutex
	queue []*broker.Publication
	sink  broker.Sink
	at    broker.Position
	last  uint64
	lossy bool
	late  bool
	// gapped is set while the channel looks its count up again after a gap. Meanwhile every event is full,
	// whatever other gateways send.
	gapped bool
	// sent holds what a subscribed socket would have received. verdicts holds the same by offset, without
	// events that a gap excuses.
	sent     []simFrame
	verdicts map[uint64]bool
}

type simFrame struct {
	value string
	full  bool
}

// simCluster is the whole simulated cluster.
type simCluster struct {
	app      *app.App
	log      *simLog
	bucket   *simBucket
	gateways []*simGateway
	gone     []*simGateway
}

func newSimCluster(most int) *simCluster {
	a := testApp()
	a.Delta.Path, a.Delta.MaxKeys, a.Delta.Interval, a.RetainedMessages = "k", 3, 4, most
	return &simCluster{app: a, log: &simLog{epoch: "e", most: most}, bucket: newSimBucket()}
}

// join starts a gateway that begins to serve the channel.
func (s *simCluster) join() *simGateway {
	g := &simGateway{registry: prometheus.NewRegistry(), log: s.log, served: make(chan struct{}), verdicts: map[uint64]bool{}}
	var err error
	g.hub, err = New(Options{
		Apps: app.NewRegistry(s.app), Feed: g, History: s.log, Counters: s.bucket,
		Metrics: NewMetrics(g.registry, "x_", "1", 10), DeltaEnabled: true, Shards: 1, ChannelLinger: 24 * time.Hour,
	})
	if err != nil {
		panic(err)
	}
	go func() {
		defer close(g.served)
		if g.channel, err = g.hub.acquire(g.hub.opt.Apps.ByID(s.app.ID), "market", new(turns.Asker)); err != nil {
			panic(err)
		}
	}()
	s.gateways = append(s.gateways, g)
	return g
}

// leave stops a gateway.
func (s *simCluster) leave(i int) {
	g := s.gateways[i]
	s.gateways = slices.Delete(s.gateways, i, i+1)
	<-g.served
	if err := g.hub.Close(context.Background()); err != nil {
		panic(err)
	}
	s.gone = append(s.gone, g)
}

func (s *simCluster) close() {
	for len(s.gateways) > 0 {
		s.leave(0)
	}
}

// publish stores a publication and sends it on its way to all gateways.
func (s *simCluster) publish(value string) *broker.Publication {
	p := s.log.publish(value)
	for _, g := range s.gateways {
		g.mu.Lock()
		if g.sink != nil && !g.lossy {
			g.queue = append(g.queue, p)
		}
		g.mu.Unlock()
	}
	return p
}

// deliver delivers the publications on their way to every gateway.
func (s *simCluster) deliver() {
	for _, g := range s.gateways {
		g.deliver()
	}
}

// publishAll publishes each value and delivers it at once.
func (s *simCluster) publishAll(values ...string) {
	for _, v := range values {
		s.publish(v)
		s.deliver()
	}
}

// settle lets time pass, and waits for background work.
func settle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// Attach implements [broker.Feed].
func (g *simGateway) Attach(ctx context.Context, _, _ string, sink broker.Sink) (broker.Attachment, error) {
	g.mu.Lock()
	g.sink = sink
	g.log.mu.Lock()
	g.at = broker.Position{Epoch: g.log.epoch, Offset: g.log.next}
	if n := len(g.log.all); n > 0 {
		g.last = g.log.all[n-1].Offset
	}
	g.log.mu.Unlock()
	g.mu.Unlock()
	<-time.After(g.log.attaching)
	return g, simDelay(ctx)
}

// Position and Detach implement [broker.Attachment].
func (g *simGateway) Position() broker.Position { return g.at }
func (g *simGateway) Detach() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sink = nil
}

// deliver does what the real feed does: lost messages are read from the log before later ones are delivered,
// and they do not carry the offset before them.
func (g *simGateway) deliver() {
	g.mu.Lock()
	var queue []*broker.Publication
	if !g.late {
		queue, g.queue = g.queue, nil
	}
	g.mu.Unlock()
	for _, p := range queue {
		g.take(p)
	}
}

func (g *simGateway) take(p *broker.Publication) {
	if p.Offset <= max(g.last, g.at.Offset) {
		return
	}
	if missing := g.log.from(g.last, 0); p.Prev > g.last && len(missing) > 0 {
		g.repair(missing, p.Prev)
	}
	g.hand(p)
}

// hand gives a publication to the channel and records the form in which it would be sent.
func (g *simGateway) hand(p *broker.Publication) {
	g.last = p.Offset
	c := g.sink.(*Channel)
	c.log.Lock()
	if c.log.priming.Load() {
		c.log.Unlock()
		c.Publication(p) // there is no subscriber yet
		return
	}
	e := c.prepare(p)
	full := e.Bases[fanout.KeyedBases].Full
	g.gapped = g.gapped && c.log.count.State() == count.Looking
	c.log.Unlock()
	select {
	case <-g.served:
	default:
		return
	}
	if !e.Tracked {
		return // it is in no delta stream
	}
	g.sent = append(g.sent, simFrame{p.ConflationKey, full})
	if !g.gapped {
		g.verdicts[p.Offset] = full
	}
}

// catchUp repairs a loss that no later message has revealed.
func (g *simGateway) catchUp() {
	missing := g.log.from(g.last, 0)
	if n := len(missing); n > 0 && missing[n-1].Offset > g.last {
		g.repair(missing, missing[n-1].Offset)
	}
}

// repair reads up to the offset to. If the log no longer reaches back to the last delivered publication, the
// feed reports a gap.
func (g *simGateway) repair(missing []*broker.Publication, to uint64) {
	epoch := g.at.Epoch
	if resume := missing[0].Offset - 1; g.last > 0 && resume >= g.last {
		g.gapped = true
		g.sink.Gap(broker.Gap{
			After:  broker.Position{Epoch: epoch, Offset: g.last},
			Resume: broker.Position{Epoch: epoch, Offset: resume}, Reason: broker.GapEvicted,
		})
		g.last = resume
	}
	for _, m := range missing {
		if m.Offset > max(g.last, g.at.Offset) && m.Offset <= to {
			m.Prev = g.last
			g.hand(m)
		}
	}
}

// total sums a metric over all gateways, including stopped ones.
func (s *simCluster) total(name string) float64 {
	sum := 0.0
	for _, g := range append(slices.Clone(s.gateways), s.gone...) {
		families, err := g.registry.Gather()
		if err != nil {
			panic(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				sum += samples(f)
			}
		}
	}
	return sum
}

func samples(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

func (s *simCluster) divergences() float64 {
	return s.total("x_delta_cluster_coordination_divergences_total")
}

// disagreements lists the publications that some gateways sent in full and others did not.
func (s *simCluster) disagreements() (out []string) {
	all := append(slices.Clone(s.gateways), s.gone...)
	for offset := uint64(1); offset <= s.log.next; offset++ {
		seen := map[bool]int{}
		for _, g := range all {
			if full, ok := g.verdicts[offset]; ok {
				seen[full]++
			}
		}
		if len(seen) == 2 {
			out = append(out, fmt.Sprintf("%d: full for %d, not for %d", offset, seen[true], seen[false]))
		}
	}
	return out
}
