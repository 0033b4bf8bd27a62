package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// batch is a request with several events. An event's data is the batch's name and the event's index.
type batch struct {
	name     string
	channels []string
	acked    bool
}

func (b *batch) body(keyed bool) string {
	var events []string
	for i, c := range b.channels {
		key := ""
		if keyed {
			key = fmt.Sprintf(`,"idempotency_key":"%s-%d"`, b.name, i)
		}
		events = append(events, fmt.Sprintf(`{"name":"%s-%d","channel":%q,"data":"x"%s}`, b.name, i, c, key))
	}
	return `{"batch":[` + strings.Join(events, ",") + `]}`
}

// batches publishes from several goroutines through two gateways. Every second batch has idempotency keys and
// is sent again through the other gateway until it is answered.
type batches struct {
	t    *testing.T
	app  *app.App
	done chan struct{}
	all  sync.WaitGroup
	mu   sync.Mutex
	sent []*batch
	n    int
}

func (b *batches) next(rnd *rand.Rand) (*batch, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	one := &batch{name: fmt.Sprint("b", b.n)}
	for range 2 + rnd.IntN(9) {
		one.channels = append(one.channels, fmt.Sprint("c", rnd.IntN(4)))
	}
	b.sent = append(b.sent, one)
	return one, b.n%2 == 0
}

func (b *batches) publish(rnd *rand.Rand, first, other *child) {
	for {
		select {
		case <-b.done:
			return
		default:
		}
		one, keyed := b.next(rnd)
		for to := first; ; first, other, to = other, first, other {
			status, err := tryRequest(to.Addr(), b.app, http.MethodPost, "/batch_events", one.body(keyed))
			if ok := err == nil && status == http.StatusOK; ok || !keyed {
				b.mu.Lock()
				one.acked = ok
				b.mu.Unlock()
				break
			}
		}
	}
}

func (b *batches) acked() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.sent {
		if one.acked {
			n++
		}
	}
	return n
}

func (b *batches) more(n int) {
	b.t.Helper()
	want := b.acked() + n
	eventually(b.t, "batches are acknowledged", func() bool { return b.acked() >= want })
}

// check compares the answers with the log.
func (b *batches) check(urls []string, whole bool) {
	b.t.Helper()
	nc, err := nats.Connect(strings.Join(urls, ","), nats.Timeout(time.Minute))
	if err != nil {
		b.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := js.Stream(b.t.Context(), streams.StreamOf(b.app.ID))
	if err != nil {
		b.t.Fatal(err)
	}
	at := map[string][]uint64{}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(b.t.Context(), seq)
		if err != nil {
			b.t.Fatalf("offset %d: %v", seq, err)
		}
		name := m.Header.Get("Event")
		at[name] = append(at[name], seq)
	}
	acked, parts := 0, 0
	for _, one := range b.sent {
		stored, before := 0, map[string]uint64{}
		for i, c := range one.channels {
			places := at[fmt.Sprintf("%s-%d", one.name, i)]
			if len(places) > 1 {
				b.t.Errorf("event %d of %s is stored %d times", i, one.name, len(places))
			}
			for _, seq := range places {
				stored++
				if seq < before[c] {
					b.t.Errorf("event %d of %s in %s is stored before an earlier one", i, one.name, c)
				}
				before[c] = seq
			}
		}
		switch n := len(one.channels); {
		case one.acked && stored != n:
			b.t.Errorf("%s was acknowledged, and %d of its %d events are stored", one.name, stored, n)
		case whole && stored != 0 && stored != n:
			b.t.Errorf("%d of the %d events of %s are stored", stored, n, one.name)
		case one.acked:
			acked++
		case stored != 0 && stored != n:
			parts++
		}
	}
	b.t.Logf("%d of %d batches were acknowledged, %d others are there in part", acked, len(b.sent), parts)
}

// TestR32KilledInTheMiddleOfBatches kills NATS servers, the leader where there are several, and a gateway
// while batches are published. Acknowledged events are stored, no event is stored twice, the order within a
// channel and a request is kept, and where batches are stored atomically no batch is stored in part.
func TestR32KilledInTheMiddleOfBatches(t *testing.T) {
	fault.Seeds(t, 32, func(t *testing.T, rnd *rand.Rand) {
		for _, mode := range []struct {
			name     string
			replicas int
			atomic   streams.AtomicBatches
		}{
			{"whole, replicated", 3, streams.AtomicReplicated},
			{"whole, one replica", 1, streams.AtomicAlways},
			{"one by one", 1, streams.AtomicNever},
			{"one by one, replicated", 3, streams.AtomicNever},
		} {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 32))
			t.Run(mode.name, func(t *testing.T) { killInBatches(t, own, mode.replicas, mode.atomic) })
		}
	})
}

func killInBatches(t *testing.T, rnd *rand.Rand, replicas int, mode streams.AtomicBatches) {
	var servers []*natsChild
	if replicas == 1 {
		servers = []*natsChild{spawnNATS(t)}
	} else {
		servers = spawnNATSCluster(t, make([]clock, replicas)...)
	}
	set := childSettings{URLs: urlsOf(servers), App: "app", Members: 100, Lease: 15 * time.Second, Replicas: replicas, Atomic: mode}
	keeper, victim := spawn(t, set), spawn(t, set)
	b := &batches{t: t, app: set.tenant(), done: make(chan struct{})}
	for i := range 4 {
		own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
		first, other := keeper, victim
		if i%2 == 1 {
			first, other = victim, keeper
		}
		b.all.Go(func() { b.publish(own, first, other) })
	}
	for range 2 {
		b.more(20 + rnd.IntN(40))
		led := servers[0]
		if replicas > 1 {
			led = leaderOf(t, servers, b.app)
		}
		led.kill()
		if replicas > 1 {
			b.more(20)
		}
		led.start()
	}
	b.more(20 + rnd.IntN(40))
	victim.kill()
	b.more(20)
	close(b.done)
	b.all.Wait()
	b.check(set.URLs, mode != streams.AtomicNever)
}
