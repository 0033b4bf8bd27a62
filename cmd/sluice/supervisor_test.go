package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noticed acts as a supervisor; next returns its next notification.
func noticed(t *testing.T) (next func() string) {
	t.Helper()
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"}
	l, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", at.Name)
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

// TestTheWatchdogAsksBelowThePrefixOfPaths: the watchdog requests readiness below the path prefix, and not a
// page that does not exist.
func TestTheWatchdogAsksBelowThePrefixOfPaths(t *testing.T) {
	for _, prefix := range []string{"", "/ws", "/a/b"} {
		next, asked, end := noticed(t), make(chan string, 1), make(chan struct{})
		s := &supervisor{log: slog.New(slog.DiscardHandler), prefix: prefix, alive: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case asked <- r.URL.Path:
			default:
			}
		})}
		close(end)
		s.watch(time.Hour, end)
		if path := <-asked; path != prefix+"/ready" || next() != "WATCHDOG=1" {
			t.Errorf("with the prefix %q the watchdog asks %s", prefix, path)
		}
	}
}

func TestASupervisorIsAskedForTimeWhileTheLogIsMended(t *testing.T) {
	next := noticed(t)
	(&supervisor{log: slog.New(slog.DiscardHandler)}).waiting(errors.New("no room\nREADY=1"))
	told := strings.Split(next(), "\n")
	if len(told) != 2 || !strings.HasPrefix(told[0], "STATUS=") || !strings.Contains(told[0], "no room") || told[1] != "EXTEND_TIMEOUT_USEC=60000000" {
		t.Errorf("it is told %q", told)
	}
}
