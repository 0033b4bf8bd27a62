package cluster

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/streams"
)

var stormSockets = flag.Int("storm", 300, "sockets of the storm of those who resume")

// TestTime04Storm kills one of three gateways, with all of these sockets, in a burst of
// publishing. They come back to the two others, which have not followed their channels: a few
// readings of the log serve all of a channel. Beside it the same without recovery.
func TestTime04Storm(t *testing.T) {
	var with, without *comingBack
	t.Run("without recovery", func(t *testing.T) { without = comeBack(t, true) })
	t.Run("all resume", func(t *testing.T) { with = comeBack(t, false) })
	if with == nil || without == nil || *stormSockets < 1000 {
		return
	}
	// So many connections at once delay others anyway; what is replayed must not add much.
	if a, b := with.during.percent(99), without.during.percent(99); a > b*3/2 {
		t.Errorf("the p99 of others' events is %v, and %v without recovery", a, b)
	}
}

// comingBack is one storm.
type comingBack struct {
	gates    *gates
	sockets  []*pilgrim
	channels []string
	took     times
	// before and during are how long events of another channel took.
	before, during times
	mu             sync.Mutex
	killed         bool
}

func comeBack(t *testing.T, forgetful bool) *comingBack {
	rnd := rand.New(rand.NewPCG(1, 4))
	nats := spawnNATS(t)
	set := childSettings{URLs: []string{nats.url()}, App: "app", Members: 100, Lease: 15 * time.Second, Replicas: 1, Recovers: mayMiss}
	a := set.tenant()
	c := &comingBack{gates: spawnGates(t, 3, set)}
	for i := range max(10, *stormSockets/100) {
		c.channels = append(c.channels, fmt.Sprint("storm-", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	victim, others := c.gates.all[0], c.gates.all[1:]
	visits := make(chan *visit, *stormSockets)
	for i := range *stormSockets {
		p := newPilgrim(a, c.channels[i%len(c.channels)])
		p.forgetful, p.took = forgetful, c.took.add
		c.sockets = append(c.sockets, p)
	}
	for part := range 20 {
		running.Go(func() {
			for i := part; i < len(c.sockets); i += 20 {
				v, err := c.sockets[i].visit(ctx, victim.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				visits <- v
			}
		})
	}
	for range c.sockets {
		v := <-visits
		<-v.live
		dice := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		running.Go(func() {
			<-v.done
			c.gates.wandering(ctx, v.p, false, dice)
		})
	}
	c.watch(ctx, t, &running, others)
	b := &barrage{app: a, gates: c.gates, channels: c.channels}
	b.open(ctx, 4, 5*time.Millisecond, rnd)
	more := func(n int) {
		want := b.count() + n
		eventually(t, "further events are acknowledged", func() bool { return b.count() >= want })
	}
	more(20 * len(c.channels))
	reads, spent := readings(t, others), cpuOf(t, others)
	c.mu.Lock()
	c.killed = true
	c.mu.Unlock()
	c.gates.kill(0)
	eventually(t, "all are live again", func() bool { return c.took.count() >= len(c.sockets) })
	after := cpuOf(t, others)
	more(len(c.channels))
	b.stop()
	b.running.Wait()
	reads = readings(t, others) - reads
	t.Logf("%d sockets on %d channels, from the kill to live: %v; %v of CPU each; %v readings of the log, %.3f each",
		len(c.sockets), len(c.channels), &c.took, (after-spent).Round(time.Millisecond)/time.Duration(len(c.sockets)), reads, reads/float64(len(c.sockets)))
	t.Logf("others' events: before %v; during %v", &c.before, &c.during)
	if !forgetful {
		c.check(ctx, t, b, nats, reads, rnd)
	}
	return c
}

// watch measures how long events take to the subscribers of another channel.
func (c *comingBack) watch(ctx context.Context, t *testing.T, running *sync.WaitGroup, others []*child) {
	a := c.gates.set.tenant()
	for i := range 20 {
		p := newPilgrim(a, "bystanders")
		p.saw = func(_, data string) {
			sent, _ := strconv.ParseInt(data, 10, 64)
			c.mu.Lock()
			to := &c.before
			if c.killed {
				to = &c.during
			}
			c.mu.Unlock()
			to.add(time.Since(time.Unix(0, sent)))
		}
		v, err := p.visit(ctx, others[i%len(others)].Addr())
		if err != nil {
			t.Fatal(err)
		}
		<-v.live
		running.Go(func() { <-v.done })
	}
	running.Go(func() {
		for ctx.Err() == nil {
			body := fmt.Sprintf(`{"name":"tick","channel":"bystanders","data":"%d"}`, time.Now().UnixNano())
			_, _ = tryRequest(others[0].Addr(), a, http.MethodPost, "/events", body)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}

// check compares what everybody got with the log, and the readings with how many resumed.
func (c *comingBack) check(ctx context.Context, t *testing.T, b *barrage, nats *natsChild, reads float64, rnd *rand.Rand) {
	t.Helper()
	a := b.app
	log, err := streams.Open(t.Context(), streams.Options{
		URLs: []string{nats.url()}, Replicas: 1, StartTimeout: patience,
		Apps: []streams.AppOptions{{ID: a.ID, Secrets: []streams.Secret{"secret"}, MaxMessages: c.gates.set.retained(), MaxBytes: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var diaries []*diary
	for _, p := range c.sockets {
		diaries = append(diaries, &p.diary)
	}
	for _, channel := range c.channels {
		b.publish(ctx, channel, rnd)
		b.compare(t, channel, readPlaces(t, log, a.ID, channel), diaries)
	}
	for i, p := range c.sockets {
		p.fine(t, fmt.Sprint("socket ", i))
	}
	// Each channel is read at two gateways at least.
	most := 0.05 * float64(len(c.sockets))
	if len(c.sockets) < 1000 {
		most = 3 * 2 * float64(len(c.channels))
	}
	if reads > most {
		t.Errorf("the log was read %v times for %d subscriptions, want %v at most", reads, len(c.sockets), most)
	}
}

func (s *times) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func (s *times) percent(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(n)
}

// readings are how often gateways read the log for those who are behind.
func readings(t *testing.T, all []*child) (sum float64) {
	t.Helper()
	for _, c := range all {
		resp, err := http.Get("http://" + c.metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "sockudo_recovery_reads_total") {
				found = true
				n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
		}
		if !found {
			t.Fatal("a gateway does not count its readings")
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return sum
}

// cpuOf is the time that the processors have spent on gateways.
func cpuOf(t *testing.T, all []*child) (sum time.Duration) {
	t.Helper()
	for _, c := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			t.Log("the time of the processors is not known here:", err)
			return 0
		}
		// The name of the program, in brackets, may have blanks.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, _ := strconv.Atoi(f)
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}
