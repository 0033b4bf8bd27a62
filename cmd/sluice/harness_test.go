package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/redisserver"
)

func TestMain(m *testing.M) {
	rank.Check()
	_ = os.Setenv("TERM", "xterm") // the type of the terminals that tests open
	// The ACME authority of the tests and its library keep these goroutines.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

const patience = 3 * time.Minute

// rig is a server as `serve` would run it: NATS and a gateway, on free ports.
type rig struct {
	t         *testing.T
	url, nats string
	log       broker.Log
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigThatKeeps(t, 0, nil)
}

// newRigThatKeeps is newRig with a number of events retained per channel, 0 for the default, and limits for
// reading them.
func newRigThatKeeps(t *testing.T, messages int64, readings *app.Readings) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Options{Host: "127.0.0.1", Port: -1, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	log, err := streams.Open(ctx, streams.Options{Apps: []streams.AppOptions{{ID: "app-id", Secrets: []streams.Secret{"secret"}, MaxMessages: messages}}, ConnectOptions: server.ConnectOptions()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return gatewayReading(t, log, server.ClientURL(), readings)
}

// newRedisRig is newRig on Redis.
func newRedisRig(t *testing.T) *rig {
	t.Helper()
	return newRedisRigThatKeeps(t, 0, nil)
}

func newRedisRigThatKeeps(t *testing.T, messages int64, readings *app.Readings) *rig {
	t.Helper()
	log, err := redis.Open(t.Context(), redis.Options{Apps: []redis.AppOptions{{ID: "app-id", MaxMessages: messages}}, URL: redis.Secret(redisserver.Start(t).URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return gatewayReading(t, log, "", readings)
}

// newMemoryRigThatKeeps is the same on the in-memory log with a tiny deduplication window, as if minutes
// passed between any two publishes.
func newMemoryRigThatKeeps(t *testing.T, messages int64, readings *app.Readings) *rig {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app-id"}, MaxMessages: int(messages), DedupWindow: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return gatewayReading(t, log, "", readings)
}

// gatewayReading runs a gateway on a log, with limits for reading.
func gatewayReading(t *testing.T, log broker.Log, nats string, readings *app.Readings) *rig {
	t.Helper()
	node, err := gateway.New(gateway.Options{
		Apps: app.NewRegistry(&app.App{
			ID: "app-id", Key: "app-key", Secret: "app-secret", Enabled: true, Limits: app.DefaultLimits, HistoryEnabled: true, Readings: readings,
			Rewind: true, Recovery: app.Recovery{Enabled: true, MaxEvents: 50, MaxBytes: 1 << 20, Age: time.Minute},
			Delta: app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, Path: "device", MaxKeys: 100},
		}),
		Log: log, Table: kv.NewMemoryTable(nil), Listen: "127.0.0.1:0", Hub: hub.Options{DeltaEnabled: true, Linger: 100 * time.Millisecond},
		PublishTimeout: patience, AnswerTimeout: patience, BodyTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(run) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node failed: %v", err)
		}
	})
	return &rig{t: t, url: "http://" + node.Addr(), nats: nats, log: log}
}

// output collects what a command writes. It may be read while the command writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newOutput() *output { return &output{grew: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output contains want.
func (o *output) await(t *testing.T, want string) {
	t.Helper()
	o.awaitTimes(t, want, 1)
}

// awaitTimes waits until the output contains want so many times.
func (o *output) awaitTimes(t *testing.T, want string, times int) {
	t.Helper()
	deadline := time.After(patience)
	for strings.Count(o.String(), want) < times {
		select {
		case <-o.grew:
		case <-deadline:
			t.Fatalf("waited in vain for %q in:\n%s", want, o)
		}
	}
}

// command is a command line in progress.
type command struct {
	t           *testing.T
	out, errors *output
	status      chan int
	interrupt   context.CancelFunc
}

// start begins a command line with stdin.
func start(t *testing.T, stdin io.Reader, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &command{t: t, out: newOutput(), errors: newOutput(), status: make(chan int, 1), interrupt: cancel}
	go func() { c.status <- run(ctx, newRoot(), args, stdin, c.out, c.errors) }()
	t.Cleanup(cancel)
	return c
}

// wait waits for the exit status.
func (c *command) wait() int {
	c.t.Helper()
	select {
	case s := <-c.status:
		return s
	case <-time.After(patience):
		c.t.Fatalf("the command does not end; it said:\n%s%s", c.out, c.errors)
		panic("unreachable")
	}
}

// execute runs a command line to its end.
func execute(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	c := start(t, strings.NewReader(stdin), args...)
	status = c.wait()
	return status, c.out.String(), c.errors.String()
}

// succeed runs a command line against the rig and returns its output.
func (r *rig) succeed(stdin string, args ...string) string {
	r.t.Helper()
	status, out, errors := execute(r.t, stdin, append(args, "--url", r.url)...)
	if status != exitOK {
		r.t.Fatalf("%v: status %d\n%s%s", args, status, out, errors)
	}
	return out
}
