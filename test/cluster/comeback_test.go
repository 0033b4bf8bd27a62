package cluster

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/streams"
)

var (
	stormSockets = flag.Int("storm", 300, "sockets of the storm of those who resume")
	stormRate    = flag.Int("storm-rate", 0, "newcomers a second that gateways let in, as http.handshake_rate; 0 for the default, -1 for all at once")
	stormNice    = flag.Int("storm-nice", 0, "how much the clients of the storm stand behind the gateways for the processors, as nice(1) has it")
)

// TestTime04Storm kills one of three gateways, with all of the test's sockets, in a burst of publishing. They
// reconnect to the two others, which have not followed their channels: a few reads of the log serve all
// sockets of a channel. The same runs without recovery for comparison. The latency of other events is
// measured at the gateways to which all reconnect, and at a gateway without a part in it, which shows the
// effect of the machine and the log. With few sockets it runs once more while other channels get more events,
// so that the events of a channel lie further apart in the log: that must not take more reads.
func TestTime04Storm(t *testing.T) {
	var with, without time.Duration
	t.Run("without recovery", func(t *testing.T) { without = storm(t, true, false) })
	t.Run("all resume", func(t *testing.T) { with = storm(t, false, false) })
	if !large() {
		t.Run("all resume, few of the events are theirs", func(t *testing.T) { storm(t, false, true) })
	}
	if with > 0 && without > 0 && large() {
		// So many connections at once delay other events anyway; the replay must not add much.
		if t.Logf("p99 of others' events while all came back: %v, and %v without recovery", with, without); with > without*3/2 {
			t.Errorf("the p99 of others' events is %v, and %v without recovery", with, without)
		}
	}
}

// stormProcess marks a process that runs one storm. foundP99 begins the line with its result.
const stormProcess, foundP99 = "STORM_PROCESS", "p99 of others' events: "

// storm makes all sockets reconnect, and returns the p99 of other events' latency meanwhile. A process cannot
// raise its priority again once it has lowered it, and its children inherit the priority: in a second storm
// NATS and the gateways would have the low priority, too. So with a lowered priority each storm runs in its
// own process.
func storm(t *testing.T, forgetful, rare bool) time.Duration {
	if *stormNice == 0 || os.Getenv(stormProcess) != "" {
		during := comeBack(t, forgetful, rare)
		t.Log(foundP99 + during.percent(99).String())
		return during.percent(99)
	}
	one := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], append(slices.Clone(os.Args[1:]), "-test.run", one)...)
	cmd.Env = append(os.Environ(), stormProcess+"=1")
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), foundP99)
	text, _, _ := strings.Cut(rest, "\n")
	found, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// comingBack is one storm.
type comingBack struct {
	gates    *gates
	sockets  []*pilgrim
	channels []string
	took     times
	// last is the time in nanoseconds at which the latest socket so far was live again.
	last atomic.Int64
}

// large reports whether there are enough sockets for times to mean something.
func large() bool { return *stormSockets >= 1000 }

// settles connects until all channels are live: a gateway may tell the client to come later.
func (p *pilgrim) settles(ctx context.Context, address string) (*visit, error) {
	for {
		v, err := p.visit(ctx, address)
		if err != nil {
			return nil, err
		}
		select {
		case <-v.live:
			return v, nil
		case <-v.done:
			p.stroll()
		}
	}
}

func comeBack(t *testing.T, forgetful, rare bool) (during *times) {
	rnd := rand.New(rand.NewPCG(1, 4))
	nats := spawnNATS(t)
	set := childSettings{URLs: []string{nats.url()}, App: "app", Members: 100, Lease: 15 * time.Second, Replicas: 1, Recovers: mayMiss, Handshakes: *stormRate}
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
	pace, between := 5*time.Millisecond, 5*time.Millisecond
	if rare {
		pace, between = 40*time.Millisecond, time.Millisecond
	}
	var far *bystander
	if large() {
		apart := spawn(t, set)
		far = spawnBystander(t, bystanderSettings{App: a.ID, Channel: "far", Addresses: []string{apart.Addr()}, Subscribers: 20, Every: 5 * time.Millisecond})
	}
	by := spawnBystander(t, bystanderSettings{App: a.ID, Channel: "near", Addresses: []string{others[0].Addr(), others[1].Addr()}, Subscribers: 20, Every: between})
	yield(t, *stormNice)
	visits := make(chan *visit, *stormSockets)
	for i := range *stormSockets {
		p := newPilgrim(a, c.channels[i%len(c.channels)])
		p.forgetful = forgetful
		p.took = func(d time.Duration) {
			c.last.Store(time.Now().UnixNano())
			c.took.add(d)
		}
		c.sockets = append(c.sockets, p)
	}
	for part := range 20 {
		running.Go(func() {
			for i := part; i < len(c.sockets); i += 20 {
				v, err := c.sockets[i].settles(ctx, victim.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				visits <- v
			}
		})
	}
	for range c.sockets {
		var v *visit
		select {
		case v = <-visits:
		case <-time.After(patience):
			t.Fatal("not all sockets are live")
		}
		dice := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		running.Go(func() {
			<-v.done
			c.gates.wandering(ctx, v.p, false, dice)
		})
	}
	b := &barrage{app: a, gates: c.gates, channels: c.channels}
	b.open(ctx, 4, pace, rnd)
	more := func(n int) {
		want := b.count() + n
		eventually(t, "further events are acknowledged", func() bool { return b.count() >= want })
	}
	began := time.Now()
	more(20 * len(c.channels))
	if large() {
		more(40 * len(c.channels))
	}
	asked := overhear(t, nats, a.ID)
	spent := cpuOf(t, others)
	killed := time.Now()
	c.gates.kill(0)
	eventually(t, "all are live again", func() bool { return c.took.count() >= len(c.sockets) })
	over := time.Unix(0, c.last.Load())
	after := cpuOf(t, others)
	more(len(c.channels))
	if large() {
		more(20 * len(c.channels))
	}
	ended := time.Now()
	b.stop()
	b.running.Wait()
	reads := asked()
	each := float64(reads.log.Load()+reads.leader.Load()) / float64(len(c.sockets))
	t.Logf("%d sockets on %d channels, from the kill to live: %v; %v of CPU each; %v; %.3f of the log each",
		len(c.sockets), len(c.channels), &c.took, (after-spent).Round(time.Millisecond)/time.Duration(len(c.sockets)), reads, each)
	found := by.end(t)
	before := within(found.Events, began, killed)
	during = within(found.Events, killed, over)
	t.Logf("others' events: before %v; during %v; after %v; %.2f times as long", before, during, within(found.Events, over, ended), slower(before, during))
	t.Logf("timers of who measures that: before late by %v; during %v", within(found.Timers, began, killed), within(found.Timers, killed, over))
	if far != nil {
		away := far.end(t)
		b, d := within(away.Events, began, killed), within(away.Events, killed, over)
		t.Logf("events of a gateway without a part in it: before %v; during %v; %.2f times as long", b, d, slower(b, d))
	}
	if !forgetful {
		c.check(ctx, t, b, nats, reads, rnd)
	}
	return during
}

// check compares the events of every socket with the log, and the number of reads with the number of resumes.
func (c *comingBack) check(ctx context.Context, t *testing.T, b *barrage, nats *natsChild, reads *looks, rnd *rand.Rand) {
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
	// Each channel is attached at two gateways, with at most two and a half reads. Publishers' look-ups,
	// while their channel has no subscriber, are counted where there are many sockets.
	got, most := reads.log.Load()+reads.leader.Load(), int64(len(c.sockets))/20
	if !large() {
		got, most = reads.log.Load(), 5*int64(len(c.channels))
	}
	if got > most {
		t.Errorf("the log was read %d times for %d subscriptions, want %d at most", got, len(c.sockets), most)
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

// looks counts reads: of the storm's channels, of single events at the leader for publishers, of other
// channels, and of the cluster's table.
type looks struct{ log, leader, others, table atomic.Int64 }

func (l *looks) String() string {
	return fmt.Sprintf("%d readings of the log, %d looks of publishers, %d readings of other channels, %d of the table",
		l.log.Load(), l.leader.Load(), l.others.Load(), l.table.Load())
}

// overhear counts all read requests that NATS gets, until end is called.
func overhear(t *testing.T, server *natsChild, app string) (end func() *looks) {
	t.Helper()
	conn, err := nats.Connect(server.url(), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	l, stream := &looks{}, streams.StreamOf(app)
	for subject, n := range map[string]*atomic.Int64{
		"$JS.API.DIRECT.GET." + stream: &l.log, "$JS.API.DIRECT.GET." + stream + ".>": &l.log, "$JS.API.STREAM.MSG.GET." + stream: &l.leader,
		"$JS.API.DIRECT.GET.KV_cluster": &l.table, "$JS.API.DIRECT.GET.KV_cluster.>": &l.table, "$JS.API.STREAM.MSG.GET.KV_cluster": &l.table,
	} {
		if _, err := conn.Subscribe(subject, func(m *nats.Msg) {
			if n == &l.log && !strings.Contains(m.Subject, "storm-") && !bytes.Contains(m.Data, []byte("storm-")) {
				l.others.Add(1)
			} else {
				n.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() *looks {
		_ = conn.Flush()
		_ = conn.Drain()
		for !conn.IsClosed() {
			<-time.After(time.Millisecond)
		}
		return l
	}
}

// cpuOf returns the processor time that the gateways have used.
func cpuOf(t *testing.T, all []*child) (sum time.Duration) {
	t.Helper()
	for _, c := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			t.Log("the time of the processors is not known here:", err)
			return 0
		}
		// The program name, in brackets, may contain blanks.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, _ := strconv.Atoi(f)
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// yield lowers the priority of all threads of this process. It cannot be undone.
func yield(t *testing.T, nice int) {
	if nice == 0 {
		return
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, nice)
	}
}
