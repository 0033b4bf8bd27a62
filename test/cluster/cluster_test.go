package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/natsd"
)

const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("LOCKS_UNCHECKED") == "" {
		rank.Check() // in the gateway processes as well
	}
	if text := os.Getenv(childEnv); text != "" {
		if err := serveChild(text); err != nil {
			fmt.Fprintln(os.Stderr, "the gateway ended:", err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(natsd.Env); text != "" { // with a clock of its own
		if err := natsd.Serve(text, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "the NATS server ended:", err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(bystanderEnv); text != "" {
		if err := serveBystander(text); err != nil {
			fmt.Fprintln(os.Stderr, "the bystander ended:", err)
			os.Exit(1)
		}
		return
	}
	// A NATS server that is shut down while it creates a stream does not stop that stream's store. Servers
	// are shut down at any moment here.
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			if natsProgramDir != "" {
				_ = os.RemoveAll(natsProgramDir)
			}
			os.Exit(code)
		}),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// settings configures a cluster.
type settings struct {
	apps       []*app.App
	coordinate bool
	hub        hub.Options
	retained   int64
	// replicated runs three NATS servers instead of one.
	replicated bool
	// servers are running NATS servers, three or none.
	servers []*natsChild
	// compose runs three NATS servers with the accounts of docker-compose.yml.
	compose bool
	// options changes the options of a gateway's log.
	options func(*streams.Options)
	// disturb sits between NATS and the feeds, and may drop or delay messages.
	disturb  func(m *nats.Msg, deliver func(*nats.Msg))
	webhooks webhook.Options
	// operations counts the operations on the checkpoints, unless it is nil.
	operations *atomic.Int64
}

// cluster is a NATS server, or three, with gateways.
type cluster struct {
	t      *testing.T
	set    settings
	server *embedded.Server
	nats   *natsCluster
	nodes  []*node
	// through is the only address by which the gateways that join next reach NATS, unless it is empty.
	through string
	// user and password are the gateways' credentials, where NATS wants them.
	user     string
	password streams.Secret
}

type node struct {
	*gateway.Node
	log      *streams.Log
	registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

func tenant(id string) *app.App {
	return &app.App{
		ID: id, Key: "key-" + id, Secret: "secret", Enabled: true, Limits: app.DefaultLimits, HistoryEnabled: true,
		Delta: app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100},
	}
}

// start runs a NATS server, or three, and this number of gateways.
func start(t *testing.T, gateways int, set settings) *cluster {
	t.Helper()
	c := &cluster{t: t}
	switch {
	case set.servers != nil:
	case set.compose:
		nats, loaded := startCompose(t)
		c.nats, c.user, c.password = nats, loaded.NATS.User, streams.Secret(loaded.NATS.Password.Reveal())
	case set.replicated:
		c.nats = startNATS(t)
	default:
		var err error
		if c.server, err = embedded.Start(t.Context(), embedded.Options{Port: -1, StoreDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.server.Shutdown)
	}
	if set.apps == nil {
		set.apps = []*app.App{tenant("app")}
	}
	if set.retained == 0 {
		set.retained = 100_000
	}
	for _, a := range set.apps {
		a.RetainedMessages = int(max(set.retained, 0))
	}
	c.set = set
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.close(t)
		}
	})
	for range gateways {
		c.join()
	}
	return c
}

// join adds a gateway.
func (c *cluster) join() *node {
	c.t.Helper()
	n := &node{registry: prometheus.NewRegistry(), done: make(chan error, 1)}
	opt := streams.Options{
		StartTimeout: patience, AuditInterval: time.Second, Disturb: c.set.disturb, User: c.user, Password: c.password,
	}
	if c.set.servers != nil {
		opt.URLs, opt.Replicas = urlsOf(c.set.servers), 3
	} else if c.nats != nil {
		opt.URLs, opt.Replicas = c.nats.urls(), 3
		if c.through != "" {
			opt.URLs, opt.ConnectOptions = []string{c.through}, []nats.Option{nats.IgnoreDiscoveredServers()}
		}
	} else {
		opt.ConnectOptions = c.server.ConnectOptions()
	}
	for _, a := range c.set.apps {
		opt.Apps = append(opt.Apps, streams.AppOptions{ID: a.ID, Secrets: []streams.Secret{"secret"}, MaxMessages: c.set.retained, MaxBytes: -1})
	}
	if c.set.options != nil {
		c.set.options(&opt)
	}
	var err error
	if n.log, err = streams.Open(c.t.Context(), opt); err != nil {
		c.t.Fatal(err)
	}
	g := gateway.Options{
		Apps: app.NewRegistry(c.set.apps...), Log: n.log, Listen: "127.0.0.1:0", Registry: n.registry, Hub: c.set.hub,
		Drain: 10 * time.Second, PublishTimeout: opt.PublishTimeout,
	}
	if testing.Verbose() {
		g.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	table, err := n.log.OpenTable(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	g.Table, g.Lease, g.Webhooks = table, 15*time.Second, c.set.webhooks
	if g.Work, err = n.log.OpenWork(c.t.Context(), fmt.Sprint(len(c.nodes)), table); err != nil {
		c.t.Fatal(err)
	}
	g.Hub.DeltaEnabled, g.Hub.Linger = true, 200*time.Millisecond
	if c.set.coordinate {
		counters, err := n.log.OpenCounters(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		g.Hub.Counters = counters
		if c.set.operations != nil {
			g.Hub.Counters = countedStore{counters, c.set.operations}
		}
	}
	if n.Node, err = gateway.New(g); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() { n.done <- n.Run(ctx) }()
	c.nodes = append(c.nodes, n)
	return n
}

func (n *node) close(t *testing.T) {
	if n.stop == nil {
		return
	}
	n.stop()
	n.stop = nil
	if err := <-n.done; err != nil {
		t.Errorf("a gateway ended with %v", err)
	}
	if err := n.log.Close(); err != nil {
		t.Error(err)
	}
}

// value returns the sum of a metric over its series, -1 if it cannot be gathered.
func (n *node) value(name string) float64 {
	families, err := n.registry.Gather()
	if err != nil {
		return -1
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// watcher is a client that keeps the events it got.
type watcher struct {
	*client.Client
	mu     sync.Mutex
	events []client.Event
}

func (w *watcher) take(e client.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// all returns the events so far of a channel, or of all channels if it is empty.
func (w *watcher) all(channel string) []client.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []client.Event
	for _, e := range w.events {
		if channel == "" || e.Channel == channel {
			out = append(out, e)
		}
	}
	return out
}

// watch connects a client with deltas to a gateway.
func (n *node) watch(t *testing.T, a *app.App, channels ...string) *watcher {
	t.Helper()
	w := &watcher{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	w.Client, err = client.Dial(ctx, client.Options{URL: "http://" + n.Addr(), Key: a.Key, Delta: true, OnEvent: w.take})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	for _, channel := range channels {
		if err := w.Subscribe(ctx, channel); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// await waits until every watcher has at least n events of a channel.
func await(t *testing.T, channel string, n int, watchers ...*watcher) {
	t.Helper()
	for i, w := range watchers {
		eventually(t, fmt.Sprintf("client %d has %d events of %q", i, n, channel), func() bool { return len(w.all(channel)) >= n })
	}
}

// sign returns a client of the signed HTTP API of a gateway.
func (n *node) sign(t *testing.T, a *app.App) *client.Signed {
	t.Helper()
	s, err := client.NewSigned(client.SignedOptions{URL: "http://" + n.Addr(), AppID: a.ID, Key: a.Key, Secret: a.Secret})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, s *client.Signed, channel, data string) {
	t.Helper()
	if err := s.Publish(t.Context(), client.Publish{Name: "tick", Channel: channel, Data: data}); err != nil {
		t.Error(err)
	}
}

func body(key string, n int) string {
	return fmt.Sprintf(`{"symbol":%q,"n":%d,"note":%q}`, key, n, strings.Repeat("steady ", 60))
}

// raw returns a connection that can publish straight to the log, as `nats pub` does.
func (c *cluster) raw(t *testing.T) *nats.Conn {
	t.Helper()
	var nc *nats.Conn
	var err error
	if c.nats != nil {
		nc, err = nats.Connect(c.nats.String(), nats.Timeout(time.Minute))
	} else {
		nc, err = nats.Connect(c.server.ClientURL(), append(c.server.ConnectOptions(), nats.Timeout(time.Minute))...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (n *node) ready(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + n.Addr() + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return string(text)
}

// eventually polls for a condition. The pause between two polls is several times as long as a poll takes, so
// that polling leaves the processors to the code under test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		began := time.Now()
		if holds() {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-time.After(min(max(5*time.Millisecond, 6*time.Since(began)), 200*time.Millisecond)):
		}
	}
}

// fulls returns the sequence numbers of the events that came in full.
func fulls(events []client.Event) map[uint32]bool {
	out := map[uint32]bool{}
	for _, e := range events {
		if e.Form == client.Full {
			out[e.Number] = true
		}
	}
	return out
}

func contains(text, part string) bool { return strings.Contains(text, part) }
