package gateway_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/gateway"
)

// upgradeOf returns a WebSocket handshake for a path.
func upgradeOf(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// journal collects what a node logs.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// until reads until text has come.
func (l *line) until(text string) {
	l.t.Helper()
	var got []byte
	for !bytes.Contains(got, []byte(text)) {
		b, err := l.in.ReadByte()
		if err != nil {
			l.t.Fatalf("%q did not come, but %q and %v", text, got, err)
		}
		got = append(got, b)
	}
}

// TestAWebSocketOnAWrongPathIsTold4005: a browser tells its page nothing about an upgrade that is answered
// with 404, and its client would try to connect for ever. So every wrong path is refused with a close code.
func TestAWebSocketOnAWrongPathIsTold4005(t *testing.T) {
	for _, prefix := range []string{"", "/realtime"} {
		r := run(t, func(o *gateway.Options) { o.PathPrefix = prefix })
		paths := []string{prefix + "/", prefix + "/nothing", prefix + "/ap/key", "/elsewhere/app/key", prefix + "/app", prefix + "/app/key/more"}
		if prefix != "" {
			paths = append(paths, "/app/key?protocol=7", "/app/key/events", "/realtimes/app/key")
		}
		for _, path := range paths {
			l := r.dial(upgradeOf(path))
			resp, err := http.ReadResponse(l.in, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("%s: the upgrade was answered %v, %v", path, resp, err)
				continue
			}
			l.until(`{"code":4005,`)
		}
		if _, text := r.request(http.MethodGet, "http://"+r.MetricsAddr()+"/metrics", ""); !regexp.MustCompile(`connections_refused_total\{code="4005",.*reason="path"\} [1-9]`).MatchString(text) {
			t.Error("what is refused is not counted")
		}
	}
}

// TestRequestsForNothingAreToldOf: requests for unknown paths are logged and counted, so that an operator
// finds the client.
func TestRequestsForNothingAreToldOf(t *testing.T) {
	var said journal
	r := run(t, func(o *gateway.Options) {
		o.PathPrefix, o.Logger = "/realtime", slog.New(slog.NewTextHandler(&said, nil))
	})
	for _, path := range []string{"/apps/app/events", "/realtime/nothing"} {
		if status, _ := r.request(http.MethodPost, "http://"+r.Addr()+path, "{}"); status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
	if text := said.String(); !strings.Contains(text, "requests are refused") || !strings.Contains(text, "/apps/app/events") {
		t.Errorf("the log says %q", text)
	}
	_, text := r.request(http.MethodGet, "http://"+r.MetricsAddr()+"/metrics", "")
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, `requests_refused_total{app_id="",`) && strings.Contains(line, `reason="not_found"`) {
			if !strings.HasSuffix(line, " 2") {
				t.Errorf("counted: %s", line)
			}
			return
		}
	}
	t.Error("what is refused is not counted")
}
