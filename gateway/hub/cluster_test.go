package hub

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/kv"
)

// What follows is a cluster in which everything but the hub is simulated: the log of
// one channel, its feeds and the bucket. Time is that of a synctest bubble.

// simLog is the log of one channel. Retention removes the oldest publications.
type simLog struct {
	mu    sync.Mutex
	epoch string
	next  uint64
	most  int
	all   []*broker.Publication
	// behind makes readers miss so many of the newest publications, as a replica
	// does that has not caught up.
	behind int
	// skew is what the clock of the log's leader is ahead.
	skew time.Duration
	// attaching takes so long beside the way to the server.
	attaching time.Duration
}

func (l *simLog) publish(value string) *broker.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	p := &broker.Publication{
		Event: broker.Event{
			Name: "tick", Data: []byte(`{"n":1}`), Delta: broker.DeltaAlways, HasKey: true, ConflationKey: value,
		},
		Position: broker.Position{Epoch: l.epoch, Offset: l.next}, Time: time.Now().Add(l.skew),
	}
	if n := len(l.all); n > 0 {
		p.Prev = l.all[n-1].Offset
	}
	l.all = append(l.all, p)
	l.all = l.all[max(0, len(l.all)-l.most):]
	return p
}

// fallBehind makes readers miss the newest publications for a while.
func (l *simLog) fallBehind(n int) {
	set := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.behind = n
	}
	set(n)
	time.AfterFunc(100*time.Millisecond, func() { set(0) })
}

// begin begins a new life of the log.
func (l *simLog) begin(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

func (l *simLog) purge(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Clone(l.all[max(0, len(l.all)-keep):])
}

// from returns what is retained from an offset on, as history gives it.
func (l *simLog) from(offset uint64, behind int) []*broker.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*broker.Publication
	for _, p := range l.all[:max(0, len(l.all)-behind)] {
		if p.Offset >= offset {
			past := *p
			past.Prev = 0
			out = append(out, &past)
		}
	}
	return out
}

// Read implements [broker.History] as far as the hub needs it.
func (l *simLog) Read(ctx context.Context, _, _ string, q broker.Query) (*broker.Page, error) {
	if err := simDelay(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	behind, epoch := l.behind, l.epoch
	l.mu.Unlock()
	retained := l.from(0, behind)
	page := &broker.Page{Retained: broker.Retained{Epoch: epoch, Messages: uint64(len(retained))}}
	if n := len(retained); n > 0 {
		page.Retained.Oldest, page.Retained.Newest = retained[0].Offset, retained[n-1].Offset
	}
	for _, p := range retained {
		if p.Offset >= q.From && (q.To == 0 || p.Offset <= q.To) {
			page.Publications = append(page.Publications, p)
		}
	}
	if q.NewestFirst {
		slices.Reverse(page.Publications)
	}
	if len(page.Publications) > q.Limit {
		page.Publications, page.More = page.Publications[:q.Limit], true
	}
	return page, nil
}

func (l *simLog) After(context.Context, string, string, broker.Position, int) (*broker.Page, error) {
	panic("the hub does not ask this")
}

func (l *simLog) Retained(context.Context, string, string) (broker.Retained, error) {
	panic("the hub does not ask this")
}

// simDelay is the way to a server and back.
func simDelay(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(100+rand.IntN(300)) * time.Microsecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// simBucket is the bucket of checkpoints.
type simBucket struct {
	ttl time.Duration

	mu        sync.Mutex
	revision  uint64
	entries   map[string]kv.Entry
	followers map[int]simFollower
	nextID    int
	// down makes every operation fail, hung makes it wait for its context, and
	// deaf loses what followers should see.
	down, hung, deaf bool
	operations       int
	// after, if it is set, runs once behind the next Get.
	after func()
}

type simFollower struct {
	key  string
	seen func(kv.Entry)
}

func newSimBucket() *simBucket {
	return &simBucket{ttl: CounterTTL, entries: map[string]kv.Entry{}, followers: map[int]simFollower{}}
}

func (b *simBucket) reach(ctx context.Context) error {
	if err := simDelay(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.operations++
	down, hung := b.down, b.hung
	b.mu.Unlock()
	if hung {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return kv.ErrUnavailable
	}
	return nil
}

func (b *simBucket) live(key string) (kv.Entry, bool) {
	e, ok := b.entries[key]
	return e, ok && time.Since(e.Time) < b.ttl
}

func (b *simBucket) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := b.reach(ctx); err != nil {
		return kv.Entry{}, err
	}
	b.mu.Lock()
	e, ok := b.live(key)
	after := b.after
	b.after = nil
	b.mu.Unlock()
	if after != nil {
		after()
	}
	if !ok {
		return kv.Entry{}, kv.ErrNotFound
	}
	return e, nil
}

func (b *simBucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, key, value, 0)
}

func (b *simBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(ctx, key, value, revision)
}

func (b *simBucket) write(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := b.reach(ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	current := uint64(0)
	if have, ok := b.live(key); ok {
		current = have.Revision
	}
	if revision != current {
		b.mu.Unlock()
		return 0, kv.ErrConflict
	}
	b.revision++
	e := kv.Entry{Value: value, Revision: b.revision, Time: time.Now()}
	b.entries[key] = e
	var told []func(kv.Entry)
	for _, id := range slices.Sorted(maps.Keys(b.followers)) {
		if f := b.followers[id]; f.key == key && !b.deaf {
			told = append(told, f.seen)
		}
	}
	b.mu.Unlock()
	for _, seen := range told {
		seen(kv.Entry{Value: value, Revision: e.Revision})
	}
	return e.Revision, nil
}

func (b *simBucket) Delete(context.Context, string, uint64) error { panic("the hub does not ask this") }

func (b *simBucket) Follow(key string, seen func(kv.Entry)) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.nextID
	b.nextID++
	b.followers[id] = simFollower{key, seen}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.followers, id)
	}, nil
}

// set changes how the bucket behaves.
func (b *simBucket) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// simGateway is one gateway with its feed.
type simGateway struct {
	hub      *Hub
	registry *prometheus.Registry
	log      *simLog
	channel  *Channel
	// served is closed when a socket could have been subscribed.
	served chan struct{}

	// The feed: what is on its way, what was delivered last, and whether live
	// messages are lost or late at the moment.
	mu    sync.Mutex
	queue []*broker.Publication
	sink  broker.Sink
	at    broker.Position
	last  uint64
	lossy bool
	late  bool
	// gapped is set while the channel looks its count up again after a gap. What
	// comes then is full, whatever others do.
	gapped bool
	// sent is what a socket would have seen; verdicts is that by offset, but for
	// what gaps excuse.
	sent     []simFrame
	verdicts map[uint64]bool
}

type simFrame struct {
	value string
	full  bool
}

// simCluster is the whole of it.
type simCluster struct {
	app      *app.App
	log      *simLog
	bucket   *simBucket
	gateways []*simGateway
	gone     []*simGateway
}

func newSimCluster(most int) *simCluster {
	a := testApp()
	a.Delta.Path, a.Delta.MaxKeys, a.Delta.Interval = "k", 3, 4
	return &simCluster{app: a, log: &simLog{epoch: "e", most: most}, bucket: newSimBucket()}
}

// join starts a gateway that begins to serve the channel.
func (s *simCluster) join() *simGateway {
	g := &simGateway{registry: prometheus.NewRegistry(), log: s.log, served: make(chan struct{}), verdicts: map[uint64]bool{}}
	var err error
	g.hub, err = New(Options{
		Apps: app.NewRegistry(s.app), Feed: g, History: s.log, Counters: s.bucket, RetainedMessages: s.log.most,
		Metrics: NewMetrics(g.registry, "x_", "1", 10), DeltaEnabled: true, Shards: 1, ChannelLinger: 24 * time.Hour,
	})
	if err != nil {
		panic(err)
	}
	go func() {
		defer close(g.served)
		if g.channel, err = g.hub.acquire(context.Background(), s.app, "market"); err != nil {
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

// deliver lets what is on its way arrive everywhere.
func (s *simCluster) deliver() {
	for _, g := range s.gateways {
		g.deliver()
	}
}

// publishAll publishes and delivers each at once.
func (s *simCluster) publishAll(values ...string) {
	for _, v := range values {
		s.publish(v)
		s.deliver()
	}
}

// settle lets time pass, and everything that runs in the background.
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

// deliver does what the feed of the log does: lost messages are read from the log
// before later ones are delivered, and do not know what was before them.
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

// hand gives a publication to the channel and notes how it would go out.
func (g *simGateway) hand(p *broker.Publication) {
	g.last = p.Offset
	c := g.sink.(*Channel)
	c.log.Lock()
	if c.log.priming {
		c.log.Unlock()
		c.Publication(p) // nobody is subscribed yet
		return
	}
	full := c.prepare(p, true).bases[keyedBases].full
	g.gapped = g.gapped && c.log.counting.acquiring
	c.log.Unlock()
	select {
	case <-g.served:
	default:
		return
	}
	g.sent = append(g.sent, simFrame{p.ConflationKey, full})
	if !g.gapped {
		g.verdicts[p.Offset] = full
	}
}

// catchUp repairs what was lost and was followed by nothing.
func (g *simGateway) catchUp() {
	missing := g.log.from(g.last, 0)
	if n := len(missing); n > 0 && missing[n-1].Offset > g.last {
		g.repair(missing, missing[n-1].Offset)
	}
}

// repair reads up to an offset. If the log does not reach back to what was delivered
// last, nobody knows what is missing.
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

// total adds up a metric over all gateways that there were.
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

// disagreements are the publications about which gateways differ.
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
