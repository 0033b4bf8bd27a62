package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// notices receives the messages that a server sends to the socket of a supervisor.
type notices struct {
	t    *testing.T
	conn *net.UnixConn
	path string
	told chan map[string]string
}

func listenNotices(t *testing.T) *notices {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &notices{t, conn, path, make(chan map[string]string, 1<<16)}
}

// take reads notices into told until the test ends: the socket buffers only a few.
func (n *notices) take() {
	var reading sync.WaitGroup
	reading.Go(func() {
		text := make([]byte, 4096)
		for {
			size, err := n.conn.Read(text)
			if err != nil {
				return
			}
			told := map[string]string{}
			for line := range strings.Lines(string(text[:size])) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				told[name] = value
			}
			select {
			case n.told <- told:
			case <-n.t.Context().Done():
				return
			}
		}
	})
	n.t.Cleanup(func() {
		_ = n.conn.Close()
		reading.Wait()
	})
}

// next returns the next notice of a kind and skips others.
func (n *notices) next(kind string) map[string]string {
	n.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case told := <-n.told:
			if told[kind] != "" {
				return told
			}
		case <-deadline:
			n.t.Fatalf("waited in vain for %s", kind)
		}
	}
}

// TestRun06TheSupervisorIsTold checks what the real program tells systemd with Type=notify and a watchdog.
func TestRun06TheSupervisorIsTold(t *testing.T) {
	n := listenNotices(t)
	n.take()
	t.Setenv("NOTIFY_SOCKET", n.path)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(int((100 * time.Millisecond).Microseconds())))
	dir := t.TempDir()
	s := serve(t, dir, config(dir, "shutdown: {ready_delay_seconds: 1, drain_seconds: 2}"))
	if told := n.next("READY"); told["READY"] != "1" || !strings.Contains(told["STATUS"], s.HTTP) {
		t.Errorf("it is ready: %v", told)
	}
	for range 3 {
		n.next("WATCHDOG")
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told := n.next("RELOADING")
	if at, err := strconv.ParseInt(told["MONOTONIC_USEC"], 10, 64); err != nil || at <= 0 || told["RELOADING"] != "1" {
		t.Errorf("it reloads: %v", told)
	}
	n.next("READY")
	// A file with errors changes nothing, and the server reports ready again.
	if err := os.WriteFile(filepath.Join(dir, "sluice.yaml"), []byte("no: such key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.next("RELOADING")
	n.next("READY")
	n.next("WATCHDOG")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told = n.next("STOPPING")
	if told["EXTEND_TIMEOUT_USEC"] != "13000000" {
		t.Errorf("it stops: %v", told)
	}
	s.stop()
}

// TestRun06ASupervisorThatDoesNotReadKeepsNobodyUp: the socket is full after some notices, and the server
// still stops in order.
func TestRun06ASupervisorThatDoesNotReadKeepsNobodyUp(t *testing.T) {
	n := listenNotices(t)
	t.Setenv("NOTIFY_SOCKET", n.path)
	t.Setenv("WATCHDOG_USEC", "2000")
	dir := t.TempDir()
	s := serve(t, dir, config(dir, "shutdown: {ready_delay_seconds: 0, drain_seconds: 1}"))
	eventually(t, "the socket is full", func() bool { return strings.Contains(s.logs.String(), "the supervisor cannot be told") })
	s.stop()
}

// TestRun06WithoutASupervisorNobodyIsTold: a NOTIFY_SOCKET that does not exist does no harm.
func TestRun06WithoutASupervisorNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	eventually(t, "it says so", func() bool { return strings.Contains(s.logs.String(), "the supervisor cannot be told") })
	s.stop()
}
