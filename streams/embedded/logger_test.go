package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(word string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), word)
}

// TestWeeks21StrangersDoNotFillTheLog: what a client may not do was a line for each try. The
// names of clients, and what they try, make no difference.
func TestWeeks21StrangersDoNotFillTheLog(t *testing.T) {
	said := &journal{}
	s := start(t, Options{
		Port: -1, StoreDir: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	for i := range 5 {
		nc := connect(t, s.ClientURL(), nats.Name(fmt.Sprint("a - b", i)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for j := range 50 {
			if err := nc.Publish(fmt.Sprint("gw.", i, ".", j), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n := said.count("Publish Violation"); n != 1 {
		t.Errorf("the log has %d lines, want 1", n)
	}
}

func TestCausesOfLines(t *testing.T) {
	for _, c := range []struct{ name, format, text, want string }{
		{"of a client", `pipe - cid:20 - "v1:py:a - b" - Publish Violation - Subject %q`, "x", " Subject %q"},
		{"of the server", "Filestore [%s] is corrupt", "Filestore [KV_cluster] is corrupt", "Filestore [KV_cluster] is corrupt"},
	} {
		if got := cause(c.format, c.text); !strings.HasSuffix(got, strings.TrimSpace(c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
