package cluster

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/fault"
)

// childEnv makes this test binary a gateway process that can be killed.
const childEnv = "GATEWAY_CHILD"

// childSettings configures a gateway process.
type childSettings struct {
	URLs    []string
	App     string
	Members int
	Hook    string
	Lease   time.Duration
	// Replicas is 3 if it is 0.
	Replicas int
	// Dir is the directory of an embedded log. Redis is the URL of the Redis that holds the log.
	Dir, Redis string
	// Ages bounds how long the table keeps entries that may expire.
	Ages time.Duration
	// Recovers is the number of events of a channel that a V2 client may miss, 0 for no recovery. Retained is
	// the number of events that the log keeps of each channel, 100,000 if it is 0.
	Recovers int
	Retained int64
	// Atomic says which batches are stored atomically.
	Atomic streams.AtomicBatches
	// Handshakes limits the handshakes a second, as the gateway's option does.
	Handshakes int
	// Tombstones and Linger are options of presence.
	Tombstones int
	Linger     time.Duration
	clock      `json:"-"`
}

// clock is the clock of a process: the machine's, or one that is ahead of it, in a program that
// [fault.BuildWithOwnClock] made.
type clock struct {
	program string
	ahead   time.Duration
}

// command returns a command that runs this test binary, or the program with its own clock, in the role that
// env names.
func (c clock) command(env, text string) *exec.Cmd {
	cmd := exec.Command(cmp.Or(c.program, os.Args[0]))
	cmd.Env = append(os.Environ(), env+"="+text, c.env())
	return cmd
}

// env returns the environment variable that sets a program's clock.
func (c clock) env() string { return fmt.Sprintf("%s=%d", fault.AheadEnv, int(c.ahead/time.Second)) }

func (s childSettings) tenant() *app.App {
	a := everything(s.App)
	a.Limits.MaxMembers = s.Members
	if s.Hook != "" {
		a.Webhooks = []app.Webhook{{URL: s.Hook}}
	}
	if s.Recovers > 0 {
		recovers(a, s.Recovers)
	}
	return a
}

func (s childSettings) retained() int64 { return cmp.Or(s.Retained, 100_000) }

// serveChild runs a gateway until the process is killed or told to stop.
func serveChild(text string) error {
	var s childSettings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a := s.tenant()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := s.open(ctx, log)
	if err != nil {
		return err
	}
	g := gateway.Options{
		Apps: app.NewRegistry(a), Log: l.log, Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Logger: log, Lease: s.Lease, HandshakeRate: s.Handshakes,
		Presence: presence.Options{Tombstones: s.Tombstones, Linger: s.Linger}, Webhooks: webhook.Options{Grace: time.Second},
	}
	work, err := l.work(ctx, fmt.Sprint(os.Getpid()), l.table)
	if err != nil {
		return err
	}
	g.Table, g.Work, g.Hub.DeltaEnabled = l.table, work, true
	if s.Ages > 0 {
		g.Table = ageing{l.table, s.Ages}
	}
	n, err := gateway.New(g)
	if err != nil {
		return err
	}
	fmt.Println("metrics " + n.MetricsAddr())
	fmt.Println("address " + n.Addr())
	// The parent holds the other end of stdin. When the parent is gone, this process ends.
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	err = n.Run(ctx)
	if closing := l.close(); err == nil {
		err = closing
	}
	return err
}

// backend is the log of a gateway with its table and work queues.
type backend struct {
	log   broker.Log
	table kv.Table
	work  func(ctx context.Context, node string, table kv.Table) (broker.Work, error)
	close func() error
}

// open opens the log that the settings name.
func (s childSettings) open(ctx context.Context, log *slog.Logger) (b backend, err error) {
	if s.Redis != "" {
		l, err := redis.Open(ctx, redis.Options{
			URL: redis.Secret(s.Redis), StartTimeout: patience, AuditInterval: time.Second, Logger: log,
			Apps: []redis.AppOptions{{ID: s.App, MaxMessages: s.retained()}},
		})
		if err != nil {
			return b, err
		}
		table, err := l.OpenTable(ctx)
		return backend{l, table, func(context.Context, string, kv.Table) (broker.Work, error) { return l.OpenWork(), nil }, l.Close}, err
	}
	opt := streams.Options{
		URLs: s.URLs, Replicas: cmp.Or(s.Replicas, 3), StartTimeout: patience, AuditInterval: time.Second, Logger: log, Atomic: s.Atomic,
		Apps: []streams.AppOptions{{ID: s.App, Secrets: []streams.Secret{"secret"}, MaxMessages: s.retained(), MaxBytes: -1}},
	}
	stop := func() {}
	if s.Dir != "" {
		server, err := embedded.Start(ctx, embedded.Options{DontListen: true, StoreDir: s.Dir})
		if err != nil {
			return b, err
		}
		opt.Replicas, opt.ConnectOptions, stop = 1, server.ConnectOptions(), server.Shutdown
	}
	l, err := streams.Open(ctx, opt)
	if err != nil {
		return b, err
	}
	table, err := l.OpenTable(ctx)
	return backend{l, table, func(ctx context.Context, node string, table kv.Table) (broker.Work, error) {
		return l.OpenWork(ctx, node, table)
	}, func() error {
		defer stop()
		return l.Close()
	}}, err
}

// ageing is a table that caps the TTL of each entry that has one.
type ageing struct {
	kv.Table
	age time.Duration
}

func (t ageing) ttl(ttl time.Duration) time.Duration { return min(ttl, t.age) }

func (t ageing) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	return t.Table.Put(ctx, key, value, t.ttl(ttl))
}

func (t ageing) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	return t.Table.Swap(ctx, key, value, t.ttl(ttl), revision)
}

// child is a gateway process.
type child struct {
	cmd     *exec.Cmd
	address string
	// metrics is the address of /metrics.
	metrics string
	clock   clock
	dead    bool
}

// Addr returns the address, so that a child can be used like a node.
func (c *child) Addr() string { return c.address }

func spawn(t *testing.T, s childSettings) *child {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.command(childEnv, string(text))
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, clock: s.clock}
	t.Cleanup(func() {
		_ = in.Close()
		if !c.dead {
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if metrics, ok := strings.CutPrefix(lines.Text(), "metrics "); ok {
			c.metrics = metrics
		}
		if address, ok := strings.CutPrefix(lines.Text(), "address "); ok {
			c.address = address
			return c
		}
	}
	t.Fatal("a gateway process did not start")
	return nil
}

// kill ends the process with SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	_ = c.cmd.Wait()
	c.dead = true
}
