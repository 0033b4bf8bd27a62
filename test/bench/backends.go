package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/broker"
	memorylog "github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

const (
	// backendSockets are connected to each gateway, all in one channel.
	backendSockets = 10
	// backendBlock is how many events one variant publishes before the other variant continues.
	backendBlock = 100
	// backendPublishers is the number of concurrent publishers where throughput is measured.
	backendPublishers = 16
	// backendWindow is how many events may be in flight to the sockets.
	backendWindow = 256
)

// backendUnderTest is one log with its resources.
type backendUnderTest struct {
	log broker.Log
	// counters is the table by which gateways coordinate on JetStream.
	counters kv.Followed
	close    func()
}

// backendsCompared are opened one after the other. External servers are processes of their own, on loopback,
// with their files in a temporary directory.
var backendsCompared = []struct {
	name string
	open func(ctx context.Context, dir string) (*backendUnderTest, error)
}{
	{"memory", openMemoryLog},
	{"JetStream, embedded", openEmbedded},
	{"JetStream, external, R1", func(ctx context.Context, dir string) (*backendUnderTest, error) { return openExternal(ctx, dir, 1) }},
	{"JetStream, external, R3", func(ctx context.Context, dir string) (*backendUnderTest, error) { return openExternal(ctx, dir, 3) }},
	{"Redis, append-only file", openRedisLog},
}

func openMemoryLog(context.Context, string) (*backendUnderTest, error) {
	l, err := memorylog.New(memorylog.Options{Apps: []string{"app"}})
	if err != nil {
		return nil, err
	}
	return &backendUnderTest{log: l, close: func() { _ = l.Close() }}, nil
}

func openStreams(ctx context.Context, opt streams.Options, more func()) (*backendUnderTest, error) {
	opt.Apps, opt.StartTimeout = []streams.AppOptions{{ID: "app", Secrets: []streams.Secret{"secret"}}}, time.Minute
	l, err := streams.Open(ctx, opt)
	if err != nil {
		more()
		return nil, err
	}
	b := &backendUnderTest{log: l, close: func() { _ = l.Close(); more() }}
	if b.counters, err = l.OpenCounters(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func openEmbedded(ctx context.Context, dir string) (*backendUnderTest, error) {
	server, err := embedded.Start(ctx, embedded.Options{Port: -1, StoreDir: dir})
	if err != nil {
		return nil, err
	}
	return openStreams(ctx, streams.Options{ConnectOptions: server.ConnectOptions()}, server.Shutdown)
}

func openExternal(ctx context.Context, dir string, n int) (*backendUnderTest, error) {
	ports, err := freePorts(2 * n)
	if err != nil {
		return nil, err
	}
	var all []*exec.Cmd
	stop := func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	var urls []string
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for i := range n {
		args := []string{"nats", fmt.Sprintf("%s/%d", dir, i), strconv.Itoa(i)}
		for _, p := range ports {
			args = append(args, strconv.Itoa(p))
		}
		c := exec.Command(self, args...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			stop()
			return nil, err
		}
		all = append(all, c)
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	return openStreams(ctx, streams.Options{URLs: urls, Replicas: n}, stop)
}

func openRedisLog(ctx context.Context, dir string) (*backendUnderTest, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	c := exec.Command("redis-server", "--port", strconv.Itoa(ports[0]), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes")
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	stop := func() { _ = c.Process.Kill(); _ = c.Wait() }
	l, err := redis.Open(ctx, redis.Options{URL: redis.Secret(fmt.Sprintf("redis://127.0.0.1:%d", ports[0])), Apps: []redis.AppOptions{{ID: "app"}}})
	if err != nil {
		stop()
		return nil, err
	}
	return &backendUnderTest{log: l, close: func() { _ = l.Close(); stop() }}, nil
}

// way is a gateway with its sockets: the path from publishing to receiving.
type way struct {
	channel string
	pub     broker.Publisher
	stop    func()
	// received counts events at all sockets; first gets a signal for each event at the first socket.
	received atomic.Int64
	first    chan time.Time
	times    []time.Duration
	medians  []time.Duration
}

func newWay(b *backendUnderTest, channel string, coordinated bool) (*way, error) {
	a := &app.App{
		ID: "app", Key: "key", Secret: "secret", Enabled: true, HistoryEnabled: true,
		Limits: app.DefaultLimits,
		Delta:  app.Delta{Enabled: true, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100},
	}
	opt := gateway.Options{Apps: app.NewRegistry(a), Log: b.log, Listen: "127.0.0.1:0", Table: kv.NewMemoryTable(nil)}
	opt.Hub.DeltaEnabled = true
	if coordinated {
		if counting, ok := b.log.(broker.Counting); ok {
			opt.Log = count.InLog(counting, opt.Apps)
		} else {
			opt.Hub.Counters = b.counters
		}
	}
	n, err := gateway.New(opt)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	w := &way{channel: channel, pub: opt.Log, first: make(chan time.Time, 1)}
	var sockets []*gws.Conn
	w.stop = func() {
		for _, s := range sockets {
			_ = s.NetConn().Close()
		}
		cancel()
		running.Wait()
	}
	for i := range backendSockets {
		h := &wayHandler{way: w, first: i == 0, subscribed: make(chan struct{})}
		s, _, err := gws.NewClient(h, &gws.ClientOption{Addr: "ws://" + n.Addr() + "/app/key?protocol=7"})
		if err != nil {
			w.stop()
			return nil, err
		}
		sockets = append(sockets, s)
		go s.ReadLoop() // ends with the connection
		if err := s.WriteString(`{"event":"pusher:subscribe","data":{"channel":"` + channel + `","delta":"fossil"}}`); err != nil {
			w.stop()
			return nil, err
		}
		select {
		case <-h.subscribed:
		case <-time.After(10 * time.Second):
			w.stop()
			return nil, errors.New("a socket could not subscribe")
		}
	}
	return w, nil
}

type wayHandler struct {
	gws.BuiltinEventHandler
	way        *way
	first      bool
	subscribed chan struct{}
}

func (h *wayHandler) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	switch text := m.Bytes(); {
	case bytes.Contains(text, []byte("subscription_succeeded")):
		close(h.subscribed)
	case bytes.Contains(text, []byte(`"tick"`)), bytes.Contains(text, []byte(`pusher:delta"`)):
		h.way.received.Add(1)
		if h.first {
			select {
			case h.way.first <- time.Now():
			default:
			}
		}
	}
}

var serial atomic.Int64

// tick returns an event of about a kilobyte, of which a few bytes change each time.
func tick() *broker.Event {
	return &broker.Event{Name: "tick", Data: fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, serial.Add(1), strings.Repeat("0123456789abcdef", 62))}
}

// oneByOne publishes a block of events, each after the previous one has arrived.
func (w *way) oneByOne(ctx context.Context, n int) error {
	block := make([]time.Duration, 0, n)
	for range n {
		select {
		case <-w.first:
		default:
		}
		began := time.Now()
		if _, err := w.pub.Publish(ctx, "app", broker.Outgoing{Channel: w.channel, Event: tick()}); err != nil {
			return err
		}
		select {
		case at := <-w.first:
			block = append(block, at.Sub(began))
		case <-ctx.Done():
			return fmt.Errorf("an event did not arrive: %w", ctx.Err())
		}
	}
	w.times = append(w.times, block...)
	w.medians = append(w.medians, quantile(block, .5))
	return nil
}

// together publishes from several goroutines for a period, and waits until everything has arrived.
func (w *way) together(ctx context.Context, period time.Duration) (publishes, deliveries float64, err error) {
	before := w.received.Load()
	began := time.Now()
	var stored atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, backendPublishers)
	for i := range backendPublishers {
		group.Go(func() {
			for time.Since(began) < period && errs[i] == nil {
				if stored.Load()*backendSockets-(w.received.Load()-before) > backendWindow*backendSockets {
					runtime.Gosched() // a log in memory is faster than sockets
					continue
				}
				_, errs[i] = w.pub.Publish(ctx, "app", broker.Outgoing{Channel: w.channel, Event: tick()})
				stored.Add(1)
			}
		})
	}
	group.Wait()
	published := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	want := before + stored.Load()*backendSockets
	for w.received.Load() < want {
		select {
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("%d of %d deliveries: %w", w.received.Load()-before, want-before, ctx.Err())
		case <-time.After(100 * time.Microsecond):
		}
	}
	return float64(stored.Load()) / published.Seconds(), float64(want-before) / time.Since(began).Seconds(), nil
}

// compareBackends prints a row for each backend with coordination off and on; the two alternate.
func compareBackends(blocks int, period time.Duration) error {
	fmt.Printf("From the call of Publish to the first of %d sockets, one event of 1 KB at a time, %d events of each; then %d publishers at once.\n\n",
		backendSockets, blocks*backendBlock, backendPublishers)
	fmt.Println("| log | coordination | p50 | p99 | p50 beside off | publishes/s | deliveries/s |")
	fmt.Println("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
	for _, c := range backendsCompared {
		if err := compareBackend(c.name, c.open, blocks, period); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	fmt.Println()
	return nil
}

func compareBackend(name string, open func(context.Context, string) (*backendUnderTest, error), blocks int, period time.Duration) error {
	dir, err := os.MkdirTemp("", "bench-backend-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer b.close()
	_, counting := b.log.(broker.Counting)
	variants := []string{"off", "on"}
	if !counting && b.counters == nil {
		variants = variants[:1] // with a log in memory there is no other gateway to coordinate with
	}
	var ways []*way
	for i, v := range variants {
		w, err := newWay(b, "bench-"+v, i == 1)
		if err != nil {
			return err
		}
		defer w.stop()
		ways = append(ways, w)
		if err := w.oneByOne(ctx, backendBlock); err != nil { // warms up
			return err
		}
		w.times, w.medians = nil, nil
	}
	for i := range blocks {
		for k := range ways {
			if err := ways[(i+k)%len(ways)].oneByOne(ctx, backendBlock); err != nil {
				return err
			}
		}
	}
	for i, w := range ways {
		publishes, deliveries, err := w.together(ctx, period)
		if err != nil {
			return err
		}
		beside := "-"
		if i == 1 {
			var ratios []float64
			for k := range w.medians {
				ratios = append(ratios, float64(w.medians[k])/float64(ways[0].medians[k]))
			}
			slices.Sort(ratios)
			beside = fmt.Sprintf("%.2f (%.2f-%.2f)", ratios[len(ratios)/2], ratios[len(ratios)/4], ratios[len(ratios)*3/4])
		}
		fmt.Printf("| %s | %s | %.3f ms | %.3f ms | %s | %.0f | %.0f |\n", name, variants[i],
			ms(quantile(w.times, .5)), ms(quantile(w.times, .99)), beside, publishes, deliveries)
	}
	return nil
}
