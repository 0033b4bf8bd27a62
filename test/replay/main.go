// Command replay measures `sluice replay` with the built binary on an embedded log: the accuracy and drift of
// the pace at speed 1; the events per second that `--speed max` prints; how much paging through history
// delays live events; and the cost of subscriptions that begin with a snapshot. It prints the results, and
// fails if they are out of bounds.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type options struct {
	span         time.Duration
	rate, events int
	size         int
	late, drift  time.Duration
	live         time.Duration
	joiners      int
	keys         int
	joinRate     int
	least, ratio float64
	nice         int
}

func main() {
	var o options
	flag.DurationVar(&o.span, "for", 10*time.Minute, "how long events are published and then replayed at speed 1; 0 leaves it out")
	flag.IntVar(&o.rate, "rate", 50, "events per second, at random moments")
	flag.IntVar(&o.events, "events", 300_000, "how many events are replayed at --speed max; 0 leaves it out")
	flag.IntVar(&o.size, "size", 200, "bytes of data of each of them")
	flag.DurationVar(&o.live, "live", 20*time.Second, "how long live events are measured, without and with ten readers of these events; 0 leaves it out")
	flag.IntVar(&o.joiners, "joiners", 50, "how many begin with a snapshot of a channel, one after the other; 0 leaves it out")
	flag.IntVar(&o.keys, "keys", 10_000, "conflation values of that channel")
	flag.IntVar(&o.joinRate, "joinrate", 2000, "events a second in that channel meanwhile")
	flag.DurationVar(&o.late, "p99", 20*time.Millisecond, "largest error of the spacing that is let pass, p99")
	flag.DurationVar(&o.drift, "drift", 5*time.Millisecond, "largest drift that is let pass")
	flag.Float64Var(&o.least, "least", 50_000, "fewest events a second that are let pass")
	flag.Float64Var(&o.ratio, "ratio", 0, "how much longer live events may take beside ten readers, p99; 0 only prints it")
	flag.IntVar(&o.nice, "nice", 19, "how much those readers stand behind the server for the processors, as nice(1) has it; they would have their own elsewhere")
	flag.Parse()
	if url := os.Getenv(readersOf); url != "" {
		if err := serveReaders(url); err != nil {
			fmt.Fprintln(os.Stderr, "replay:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "sluice-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	var failed []error
	if o.span > 0 {
		failed = append(failed, s.pace(ctx, o))
	}
	if o.events > 0 {
		failed = append(failed, s.most(ctx, o))
		if o.live > 0 {
			failed = append(failed, s.readers(ctx, o))
		}
	}
	if o.joiners > 0 {
		failed = append(failed, s.joining(ctx, o))
	}
	return errors.Join(failed...)
}

// server is a running gateway with an embedded log.
type server struct {
	binary, url, metrics string
	cmd                  *exec.Cmd
	conn                 *nats.Conn
	log                  jetstream.JetStream
}

func serve(ctx context.Context, dir string) (*server, error) {
	s := &server{binary: filepath.Join(dir, "sluice")}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "./cmd/sluice").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building: %w\n%s", err, out)
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sluice.yaml")
	config := fmt.Sprintf(`mode: development
host: 127.0.0.1
port: %d
metrics: {host: 127.0.0.1, port: %d}
history: {max_messages: -1}
nats: {embedded: {port: %d, store_dir: %q}}
`, ports[0], ports[2], ports[1], filepath.Join(dir, "store"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	s.metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", ports[2])
	s.cmd = exec.CommandContext(ctx, s.binary, "serve", "--config", file)
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 30 * time.Second
	logs, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	s.cmd.Stdout, s.cmd.Stderr = logs, logs
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		text, _ := os.ReadFile(logs.Name())
		s.stop()
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	if s.conn, err = nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", ports[1])); err == nil {
		s.log, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(4096))
	}
	if err != nil {
		s.stop()
	}
	return s, err
}

func (s *server) ready(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if answer, err := http.Get(s.url + "/ready"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-limit.Done():
			return errors.New("the server does not become ready")
		case <-tick.C:
		}
	}
}

func (s *server) stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// replay runs the command and calls each with every line that it prints.
func (s *server) replay(ctx context.Context, each func(line []byte), args ...string) error {
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"replay", "--json", "--url", s.url}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, cmd.Wait())
		}
		each(line)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, &said)
	}
	return nil
}

// pace publishes at random moments, replays, and compares the times.
func (s *server) pace(ctx context.Context, o options) error {
	fmt.Printf("publishing %d events a second at random moments for %v, then replaying them at speed 1\n", o.rate, o.span)
	random := rand.New(rand.NewPCG(1, 2))
	published := 0
	for end := time.Now().Add(o.span); time.Now().Before(end); published++ {
		if _, err := s.log.Publish(ctx, "ch.app-id.pace", fmt.Appendf(nil, `{"n":%d}`, published)); err != nil {
			return err
		}
		timer := time.NewTimer(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(o.rate)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var came []time.Time
	var stored []int64
	control := watchTimers(ctx)
	err := s.replay(ctx, func(line []byte) {
		at := time.Now()
		var item struct {
			Time int64 `json:"published_at_ms"`
		}
		if json.Unmarshal(line, &item) == nil {
			came, stored = append(came, at), append(stored, item.Time)
		}
	}, "pace", "--speed", "1")
	own := control()
	if err != nil {
		return err
	}
	if len(came) != published {
		return fmt.Errorf("%d events were replayed, %d published", len(came), published)
	}
	late := make([]time.Duration, len(came))
	var spacing []time.Duration
	for i := range came {
		late[i] = came[i].Sub(came[0]) - time.Duration(stored[i]-stored[0])*time.Millisecond
		if i > 0 {
			spacing = append(spacing, (late[i] - late[i-1]).Abs())
		}
	}
	tenth := max(len(late)/10, 1)
	drift := quantile(late[len(late)-tenth:], 0.5) - quantile(late[:tenth], 0.5)
	p99 := quantile(spacing, 0.99)
	fmt.Printf("%d events in %v: error of the spacing p50 %v, p99 %v, largest %v; drift %v\n", len(came), came[len(came)-1].Sub(came[0]).Round(time.Second),
		quantile(spacing, 0.5), p99, quantile(spacing, 1), drift)
	fmt.Printf("a timer of this program was late by p50 %v, p99 %v meanwhile: that is the machine's part, once for each of two programs\n", quantile(own, 0.5), quantile(own, 0.99))
	if p99 > o.late || drift.Abs() > o.drift {
		return fmt.Errorf("the error of the spacing may be %v (p99), and the drift %v", o.late, o.drift)
	}
	return nil
}

// watchTimers measures how late timers of this program fire. The function that it returns ends the
// measurement and returns all delays.
func watchTimers(ctx context.Context) (end func() []time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	all := make(chan []time.Duration)
	go func() {
		var late []time.Duration
		for {
			due := time.Now().Add(20 * time.Millisecond)
			timer := time.NewTimer(20 * time.Millisecond)
			select {
			case <-timer.C:
				late = append(late, time.Since(due))
			case <-ctx.Done():
				timer.Stop()
				all <- late
				return
			}
		}
	}()
	return func() []time.Duration {
		stop()
		return <-all
	}
}

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Microsecond)
}

// most replays as fast as possible.
func (s *server) most(ctx context.Context, o options) error {
	pad := strings.Repeat("x", max(o.size-20, 0))
	for n := range o.events {
		if _, err := s.log.PublishAsync("ch.app-id.most", fmt.Appendf(nil, `{"n":%d,"x":"%s"}`, n, pad), jetstream.WithStallWait(time.Minute)); err != nil {
			return err
		}
	}
	select {
	case <-s.log.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	best := 0.0
	for round := range 3 {
		events, began := 0, time.Now()
		if err := s.replay(ctx, func([]byte) { events++ }, "most", "--speed", "max"); err != nil {
			return err
		}
		took := time.Since(began)
		rate := float64(events) / took.Seconds()
		fmt.Printf("--speed max, round %d: %d events of %d bytes in %v, %.0f a second\n", round+1, events, o.size, took.Round(time.Millisecond), rate)
		if events != o.events {
			return fmt.Errorf("%d events were replayed, %d published", events, o.events)
		}
		best = max(best, rate)
	}
	if best < o.least {
		return fmt.Errorf("%.0f events a second; it should be %.0f", best, o.least)
	}
	return nil
}
