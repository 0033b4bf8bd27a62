package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds waiting for what ends by itself; it says nothing about how fast a machine is.
const patience = 3 * time.Minute

// tools are built once for all tests.
var tools struct {
	sluice, nats string
}

func TestMain(m *testing.M) {
	if besieges() {
		return
	}
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tools.sluice = filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-race", "-tags", "lockrank", "-o", tools.sluice, "./cmd/sluice")
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		os.Exit(1)
	}
	tools.nats = natsTool()
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// natsTool finds the `nats` CLI that scripts/test installs.
func natsTool() string {
	local := filepath.Join(root(), ".cache", "bin", "nats")
	if _, err := os.Stat(local); err == nil {
		return local
	}
	found, _ := exec.LookPath("nats")
	return found
}

// server is a running `sluice serve`.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	logs *transcript

	// HTTP, Metrics and NATS are host:port.
	HTTP, Metrics, NATS string
	done                chan struct{}
	err                 error
}

// transcript keeps everything that a process wrote.
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (l *transcript) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// config returns the configuration of a development server on free ports with its data in dir.
func config(dir string, more ...string) string {
	return fmt.Sprintf(`mode: development
host: 127.0.0.1
port: 0
metrics: {host: 127.0.0.1, port: -1}
log: {format: json}
history: {enabled: true}
nats:
  embedded: {port: -1, store_dir: %q}
%s
`, filepath.Join(dir, "store"), strings.Join(more, "\n"))
}

// serve starts the binary with a configuration and waits until it is ready.
func serve(t *testing.T, dir, yaml string) *server {
	t.Helper()
	return serveLimited(t, dir, yaml, "")
}

// serveLimited is serve with a shell command that runs first.
func serveLimited(t *testing.T, dir, yaml, limit string) *server {
	t.Helper()
	s := launchLimited(t, dir, yaml, limit)
	deadline := time.After(patience)
	for s.HTTP == "" {
		select {
		case <-s.done:
			t.Fatalf("sluice ended: %v\n%s", s.err, s.logs)
		case <-deadline:
			t.Fatalf("sluice did not say that it serves\n%s", s.logs)
		case <-time.After(10 * time.Millisecond):
			s.find()
		}
	}
	eventually(t, "the server is ready", func() bool {
		resp, err := http.Get("http://" + s.HTTP + "/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
	return s
}

func launch(t *testing.T, dir, yaml string) *server {
	t.Helper()
	return launchLimited(t, dir, yaml, "")
}

// launchLimited starts the binary after a shell command such as `ulimit -n 80`.
func launchLimited(t *testing.T, dir, yaml, limit string) *server {
	t.Helper()
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, logs: &transcript{}, done: make(chan struct{})}
	s.cmd = exec.Command(tools.sluice, "serve", "--config", file)
	if limit != "" {
		s.cmd = exec.Command("sh", "-c", limit+` && exec "$@"`, "sh", tools.sluice, "serve", "--config", file)
	}
	s.cmd.Dir = dir
	s.cmd.Env = unhurried(yaml)
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			s.logs.add(in.Text())
		}
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		s.stop()
		if strings.Contains(s.logs.String(), "DATA RACE") {
			t.Errorf("the server has a data race\n%s", s.logs)
		}
		if t.Failed() {
			t.Logf("log of the server:\n%s", tail(s.logs.String(), 6000))
		}
	})
	return s
}

// gorace makes a command end at its first race, and not sleep for a second before it ends, because it has
// waited for its goroutines. A server does sleep, for as long as clients take to reconnect to its old
// address.
const gorace, goraceOfServers = "GORACE=halt_on_error=1 atexit_sleep_ms=10", "GORACE=halt_on_error=1"

// unhurried returns the environment of a server with a configuration. On a busy machine the log answers later
// than a server waits by default, so time-outs that the configuration does not set are raised.
func unhurried(yaml string) []string {
	env := append(os.Environ(), goraceOfServers)
	for name, key := range map[string]string{
		"SLUICE_HTTP_PUBLISH_TIMEOUT": "publish_timeout", "SLUICE_NATS_START_TIMEOUT": "start_timeout", "SLUICE_REDIS_START_TIMEOUT": "start_timeout",
	} {
		if !strings.Contains(yaml, key) {
			env = append(env, name+"=2m")
		}
	}
	return env
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// find reads the addresses from the line that says that the server serves.
func (s *server) find() {
	for line := range strings.SplitSeq(s.logs.String(), "\n") {
		var said struct {
			Msg, HTTP, Metrics, NATS string
		}
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "sluice is serving" {
			s.HTTP, s.Metrics, s.NATS = said.HTTP, said.Metrics, strings.TrimPrefix(said.NATS, "nats://")
		}
	}
}

// stop asks the server to end and waits for it.
func (s *server) stop() {
	select {
	case <-s.done:
		return
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.t.Errorf("the server did not stop when asked")
	}
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// eventually polls for a condition that another process brings about. The pause between two polls is several
// times as long as a poll takes, so that polling leaves the processors to the other process.
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
		case <-time.After(min(max(10*time.Millisecond, 6*time.Since(began)), 200*time.Millisecond)):
		}
	}
}

// node is a running script of test/interop.
type node struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	errs  *transcript
}

func script(t *testing.T, name string, args ...string) *node {
	t.Helper()
	dir := filepath.Join(root(), "test", "interop")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("the Node packages are not installed; scripts/test does that: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{t: t, cmd: exec.CommandContext(ctx, "node", append([]string{name}, args...)...), lines: make(chan string, 100000), errs: &transcript{}}
	n.cmd.Dir = dir
	var err error
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	bad, err := n.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(n.lines)
		in := bufio.NewScanner(out)
		in.Buffer(nil, 4<<20)
		for in.Scan() {
			n.lines <- in.Text()
		}
	})
	reading.Go(func() {
		for in := bufio.NewScanner(bad); in.Scan(); {
			n.errs.add(in.Text())
		}
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		_ = n.cmd.Wait()
	})
	return n
}

// line waits for the next line and decodes it.
func (n *node) line(into any) {
	n.t.Helper()
	select {
	case l, ok := <-n.lines:
		if !ok {
			n.t.Fatalf("the script ended: %s", n.errs)
		}
		if err := json.Unmarshal([]byte(l), into); err != nil {
			n.t.Fatalf("line %q: %v", l, err)
		}
	case <-time.After(patience):
		n.t.Fatalf("the script said nothing: %s", n.errs)
	}
}

// run waits for the script to end, which must succeed.
func (n *node) run() {
	n.t.Helper()
	for l := range n.lines {
		n.t.Log(l)
	}
	if err := n.cmd.Wait(); err != nil {
		n.t.Fatalf("%v: %s", err, n.errs)
	}
}
