package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
)

var counted = flag.Int("counts", 6000, "events of the test of the counters")

// countedStore counts the operations on the checkpoints.
type countedStore struct {
	kv.Followed
	operations *atomic.Int64
}

func (s countedStore) Get(ctx context.Context, key string) (kv.Entry, error) {
	s.operations.Add(1)
	return s.Followed.Get(ctx, key)
}

func (s countedStore) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	s.operations.Add(1)
	return s.Followed.Create(ctx, key, value)
}

func (s countedStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	s.operations.Add(1)
	return s.Followed.Update(ctx, key, value, revision)
}

func (s countedStore) Delete(ctx context.Context, key string, revision uint64) error {
	s.operations.Add(1)
	return s.Followed.Delete(ctx, key, revision)
}

// verdicts is what one socket saw of one channel: whether each event came in full. The first event of a
// conflation value is full for a socket without a base, whatever the count says.
type verdicts struct {
	mu   sync.Mutex
	seen map[string][]seenEvent
	keys map[string]bool
}

type seenEvent struct {
	number uint32
	key    string
	full   bool
	first  bool
}

func (v *verdicts) take(e client.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := e.Channel + "\x00" + e.Key
	v.seen[e.Channel] = append(v.seen[e.Channel], seenEvent{e.Number, e.Key, e.Form == client.Full, !v.keys[id]})
	v.keys[id] = true
}

func (v *verdicts) count(channel string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.seen[channel])
}

func (n *node) judge(t *testing.T, a *app.App, channels []string) *verdicts {
	t.Helper()
	v := &verdicts{seen: map[string][]seenEvent{}, keys: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: "http://" + n.Addr(), Key: a.Key, Delta: true, OnEvent: v.take})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, channel := range channels {
		if err := c.Subscribe(ctx, channel); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// countedRun is one run of the test.
type countedRun struct {
	t        *testing.T
	c        *cluster
	a        *app.App
	rng      *rand.Rand
	channels []string
	// witnesses holds the current sockets by gateway, gone those of gateways that were closed.
	witnesses []*verdicts
	gone      []*verdicts
	stored    map[string]int
	// quiet holds ranges of events in which no fault happened.
	quiet []map[string][2]int
	// diverged counts the checkpoints that contradicted the count of a closed gateway.
	diverged float64
}

const (
	countedKeys = 5
	divergences = "sockudo_delta_cluster_coordination_divergences_total"
)

// publish stores n events through all gateways at once and waits until all sockets have them. meanwhile runs
// halfway.
func (r *countedRun) publish(n int, meanwhile func()) {
	r.t.Helper()
	var expect = map[string][]int{}
	for _, channel := range r.channels {
		for _, w := range r.witnesses {
			expect[channel] = append(expect[channel], w.count(channel))
		}
	}
	before := map[string]int{}
	for _, c := range r.channels {
		before[c] = r.stored[c]
	}
	var mu sync.Mutex
	var writers sync.WaitGroup
	errs := make([]error, 6)
	nodes := slices.Clone(r.c.nodes)
	// Further sockets may join meanwhile.
	watching := slices.Clone(r.witnesses[:2])
	half := make(chan struct{}, 1)
	var done atomic.Int64
	for w := range errs {
		rng := rand.New(rand.NewPCG(r.rng.Uint64(), 3))
		writers.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				channel, key := r.channels[rng.IntN(len(r.channels))], fmt.Sprint("k", rng.IntN(countedKeys))
				// Socket queues are bounded, and overflow is not the subject of this test.
				if i%50 == w {
					for r.behind(watching, expect, before, channel, &mu) > 1500 {
						select {
						case <-time.After(time.Millisecond):
						case <-r.t.Context().Done():
							return
						}
					}
				}
				// Publish through a gateway that stays.
				_, err := nodes[w%2].log.Publish(r.t.Context(), r.a.ID, broker.Outgoing{Channel: channel, Event: &broker.Event{
					Name: "e", Data: []byte(body(key, i)),
				}})
				errs[w] = err
				mu.Lock()
				r.stored[channel]++
				mu.Unlock()
				if done.Add(1) == int64(n/2) {
					half <- struct{}{}
				}
			}
		})
	}
	if meanwhile != nil {
		<-half
		meanwhile()
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
	for _, channel := range r.channels {
		for i, w := range r.witnesses {
			if i >= len(expect[channel]) {
				continue
			}
			want := expect[channel][i] + r.stored[channel] - before[channel]
			eventually(r.t, fmt.Sprintf("the socket of gateway %d has %d events of %s", i, want, channel), func() bool {
				return w.count(channel) >= want
			})
		}
	}
}

// behind returns by how many events the slowest socket is behind.
func (r *countedRun) behind(watching []*verdicts, expect map[string][]int, before map[string]int, channel string, mu *sync.Mutex) int {
	mu.Lock()
	stored := r.stored[channel] - before[channel]
	mu.Unlock()
	most := 0
	for i, w := range watching {
		most = max(most, expect[channel][i]+stored-w.count(channel))
	}
	return most
}

// restart closes the last gateway. rejoin starts another one, whose socket joins late.
func (r *countedRun) restart() {
	last := len(r.c.nodes) - 1
	r.diverged += r.c.nodes[last].value(divergences)
	r.c.nodes[last].close(r.t)
	r.c.nodes = r.c.nodes[:last]
	r.gone = append(r.gone, r.witnesses[last])
	r.witnesses = r.witnesses[:last]
}

func (r *countedRun) rejoin() {
	r.c.through = ""
	r.witnesses = append(r.witnesses, r.c.join().judge(r.t, r.a, r.channels))
}

// cutFeeds makes the servers drop the connections that carry live messages.
func (r *countedRun) cutFeeds() {
	for _, s := range r.c.nats.running() {
		if err := s.Cut("feed", r.rng.Uint64()); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *countedRun) stream() (jetstream.JetStream, jetstream.Stream) {
	js, err := jetstream.New(r.c.raw(r.t), jetstream.WithDefaultTimeout(patience))
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := js.Stream(r.t.Context(), streams.StreamOf(r.a.ID))
	if err != nil {
		r.t.Fatal(err)
	}
	return js, s
}

// TestCountersAgree lets three gateways on three NATS servers count a random load while the stream's leader
// steps down, gateways stop and start, live connections break, the log is purged and checkpoints expire. All
// sockets must see the same events in full. For comparison it runs the naive method: get a count from the
// bucket, add one, put it back.
func TestCountersAgree(t *testing.T) {
	seed := *churnSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	a := tenant("app")
	a.Patterns = []app.Pattern{{Match: "keyed-*", Delta: a.Delta}}
	a.Patterns[0].Delta.Path = "symbol"
	var operations atomic.Int64
	set := settings{coordinate: true, replicated: true, apps: []*app.App{a}, retained: 1000, operations: &operations}
	set.hub.QueueFrames, set.hub.QueueBytes = 16384, 64<<20
	r := &countedRun{
		t: t, c: start(t, 3, set), a: a, rng: rand.New(rand.NewPCG(seed, 2)),
		channels: []string{"keyed-a", "keyed-b", "keyed-c", "plain"}, stored: map[string]int{},
	}
	for _, n := range r.c.nodes {
		r.witnesses = append(r.witnesses, n.judge(t, a, r.channels))
	}
	t.Cleanup(func() {
		for i, n := range r.c.nodes {
			if t.Failed() {
				t.Logf("gateway %d: %v gaps, %v slow sockets closed, %+v", i, n.value("sockudo_gaps_total"), n.value("sockudo_slow_sockets_closed_total"), n.log.Stats())
			}
		}
	})
	const phase = 1000
	faults := map[string]int{}
	for done := 0; done < *counted; done += phase {
		name, n := "none", min(phase, *counted-done)
		switch done / phase % 6 {
		case 1:
			name = "leader steps down"
			r.publish(n, func() {
				js, _ := r.stream()
				_, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+streams.StreamOf(a.ID), nil, patience)
				if err != nil {
					t.Error(err)
				}
			})
		case 2:
			name = "a gateway stops and another comes"
			r.publish(n/2, nil)
			r.restart()
			r.publish(n/4, r.rejoin)
			r.publish(n/4, nil)
		case 3:
			name = "live connections break"
			r.publish(n, r.cutFeeds)
		case 4:
			name = "purge"
			whole := r.rng.IntN(2) == 0
			if whole {
				r.restart()
			}
			r.publish(n, func() {
				_, s := r.stream()
				var opts []jetstream.StreamPurgeOpt
				if !whole {
					opts = append(opts, jetstream.WithPurgeKeep(uint64(1+r.rng.IntN(50))))
				}
				if err := s.Purge(t.Context(), opts...); err != nil {
					t.Error(err)
				}
				// A gateway that joins now finds checkpoints that count purged events.
				if whole {
					r.rejoin()
				}
			})
		case 5:
			name = "checkpoints expire"
			r.publish(n/2, nil)
			js, _ := r.stream()
			s, err := js.Stream(t.Context(), "KV_counters")
			if err == nil {
				err = s.Purge(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
			r.publish(n/2, nil)
		default:
			r.quietly(n)
		}
		faults[name]++
	}
	r.compare(seed, operations.Load(), faults)
	r.twin()
}

// quietly publishes without a fault, and records the range of these events.
func (r *countedRun) quietly(n int) {
	span := map[string][2]int{}
	for _, c := range r.channels {
		span[c] = [2]int{r.witnesses[0].count(c), 0}
	}
	r.publish(n, nil)
	for _, c := range r.channels {
		span[c] = [2]int{span[c][0], r.witnesses[0].count(c)}
	}
	r.quiet = append(r.quiet, span)
}

// compare compares the verdicts of all sockets.
func (r *countedRun) compare(seed uint64, operations int64, faults map[string]int) {
	judged, disagreements, total := 0, 0, 0
	for _, channel := range r.channels {
		verdict := map[uint32]bool{}
		total += r.stored[channel]
		for i, w := range append(slices.Clone(r.witnesses), r.gone...) {
			for _, e := range w.seen[channel] {
				if e.first {
					continue
				}
				full, known := verdict[e.number]
				switch {
				case !known:
					verdict[e.number] = e.full
				case full != e.full:
					disagreements++
					if disagreements < 10 {
						r.t.Logf("%s: event %d (%s) is full=%v for socket %d and full=%v for another", channel, e.number, e.key, e.full, i, full)
					}
				default:
					judged++
				}
			}
		}
	}
	off := 0
	for _, span := range r.quiet {
		for channel, at := range span {
			since := map[string]int{}
			for _, e := range r.witnesses[0].seen[channel][at[0]:at[1]] {
				n, began := since[e.key]
				if e.full && began && n != r.a.Delta.Interval-1 || !e.full && began && n >= r.a.Delta.Interval-1 {
					off++
					r.t.Errorf("%s: after %d deltas event %d (%s) is full=%v", channel, n, e.number, e.key, e.full)
				}
				switch {
				case e.full:
					since[e.key] = 0
				case began:
					since[e.key] = n + 1
				}
			}
		}
	}
	// A busy machine looks up and writes counts more often.
	if perEvent := float64(operations) / float64(total); perEvent > 0.3 {
		r.t.Errorf("%.3f operations on the bucket per event, want 0.3 at most", perEvent)
	}
	for _, n := range r.c.nodes {
		r.diverged += n.value(divergences)
	}
	// The counting gateway has a limited time to replace a checkpoint that the log has outgrown. If it takes
	// longer, a new gateway begins a new count, and both notice with the next checkpoint.
	if float64(disagreements) > float64(r.a.Delta.Interval)*r.diverged {
		r.t.Errorf("%d disagreements, and only %v checkpoints that contradicted a count", disagreements, r.diverged)
	}
	r.t.Logf("seed %d: %d events, %v; %d verdicts compared, %d disagreements, %v checkpoints that contradicted a count, %d intervals that were not %d; %.3f operations on the bucket per event",
		seed, total, faults, judged, disagreements, r.diverged, off, r.a.Delta.Interval, float64(operations)/float64(total))
	if judged < total {
		r.t.Errorf("only %d verdicts were compared for %d events", judged, total)
	}
	r.t.Logf("a decision takes %v (p50)", decision())
}

// decision returns the median time of one step of the counter.
func decision() time.Duration {
	iv := count.NewInterval(10, 100, time.Minute)
	now := time.Now()
	var took []time.Duration
	for block := range 1000 {
		began := time.Now()
		for i := range 100 {
			offset := uint64(block*100 + i + 1)
			iv.Step(offset, offset-1, now, true, "k3")
		}
		took = append(took, time.Since(began)/100)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// twin is the naive coordinator: each gateway gets the count, adds one, and puts it back.
func (r *countedRun) twin() {
	js, _ := r.stream()
	bucket, err := js.CreateKeyValue(r.t.Context(), jetstream.KeyValueConfig{Bucket: "naive", Replicas: 3})
	if err != nil {
		r.t.Fatal(err)
	}
	const events = 600
	var verdicts [3][events]bool
	var operations atomic.Int64
	var took [3][]time.Duration
	var gateways sync.WaitGroup
	for g := range verdicts {
		gateways.Go(func() {
			for i := range events {
				key, began, n := fmt.Sprint("k", i%countedKeys), time.Now(), 0
				if e, err := bucket.Get(r.t.Context(), key); err == nil {
					n, _ = strconv.Atoi(string(e.Value()))
				}
				verdicts[g][i] = n%r.a.Delta.Interval == 0
				_, _ = bucket.Put(r.t.Context(), key, []byte(strconv.Itoa(n+1)))
				operations.Add(2)
				took[g] = append(took[g], time.Since(began))
			}
		})
	}
	gateways.Wait()
	disagreements := 0
	for i := range events {
		if verdicts[0][i] != verdicts[1][i] || verdicts[0][i] != verdicts[2][i] {
			disagreements++
		}
	}
	all := slices.Concat(took[0], took[1], took[2])
	slices.Sort(all)
	r.t.Logf("get then put: %d events, %d disagreements, %.1f operations per event, %v of latency (p50)",
		events, disagreements, float64(operations.Load())/events, all[len(all)/2])
	if disagreements == 0 {
		r.t.Error("the naive coordinator did not disagree: the comparison is worth nothing")
	}
}
