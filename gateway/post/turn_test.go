package post

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTime04WhichRequestsWait(t *testing.T) {
	const usual = "GET /app/k?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
	queues := func(path string) bool { return strings.HasPrefix(path, "/app/") }
	for _, c := range []struct {
		about, text string
		want        verdict
	}{
		{"nothing yet", "", unfinished},
		{"a part of the method", "GE", unfinished},
		{"a part of the path", "GET /app", unfinished},
		{"the path alone", "GET /app/k ", unfinished},
		{"all but the end", usual[:len(usual)-1], unfinished},
		{"all", usual, waiting},
		{"with what is behind it", usual + "\x81\x80", waiting},
		{"without a question", strings.Replace(usual, "?protocol=7", "", 1), waiting},
		{"another path", strings.Replace(usual, "/app/", "/apps/", 1), foreign},
		{"another path alone", "GET /health ", foreign},
		{"another path with a question", "GET /health?", foreign},
		{"a question that has the path", "GET /health?/app/k HTTP/1.1\r\n\r\n", foreign},
		{"another method", strings.Replace(usual, "GET", "PUT", 1), foreign},
		{"another version", strings.Replace(usual, "1.1", "1.0", 1), foreign},
		{"no version", "GET /app/k\r\n\r\n", foreign},
		{"line feeds alone", strings.ReplaceAll(usual, "\r\n", "\n"), foreign},
		{"a line feed in the header", "GET /app/k HTTP/1.1\r\nHost: x\nA: b", foreign},
	} {
		if got := waits([]byte(c.text), queues); got != c.want {
			t.Errorf("%s: got %v, want %v", c.about, got, c.want)
		}
	}
	for n := range len(usual) {
		if got := waits([]byte(usual[:n]), queues); got != unfinished {
			t.Errorf("%q: got %v", usual[:n], got)
		}
	}
}

// line is a queue whose turns the test gives.
type line struct {
	calls chan func()
	left  atomic.Int32
}

func (l *line) Leave() bool {
	l.left.Add(1)
	return true
}

// openQueue returns a house in which WebSocket handshakes wait.
func openQueue(t *testing.T) (*house, *line) {
	l := &line{calls: make(chan func(), 10)}
	h := open(t, func(o *Options) {
		o.Queues = func(path string) bool { return strings.HasPrefix(path, "/app/") }
		o.Queue = func(_ *net.TCPConn, call func()) (Turn, bool) {
			l.calls <- call
			return l, true
		}
	})
	return h, l
}

const socket = "GET /app/k HTTP/1.1\r\nHost: a\r\n\r\n"

// TestTime04WhoWaitsHoldsNobodyUp: other requests are served meanwhile, and no byte sent before or during the
// wait is lost.
func TestTime04WhoWaitsHoldsNobodyUp(t *testing.T) {
	for about, behind := range map[string]string{"nothing": "", "little": "ab", "much": strings.Repeat("x", 3*early)} {
		t.Run(about+" is sent while it waits", func(t *testing.T) {
			h, l := openQueue(t)
			h.now(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/app/") {
					conn, rw, err := http.NewResponseController(w).Hijack()
					if err != nil {
						return
					}
					defer conn.Close()
					text := make([]byte, len(behind))
					_, _ = io.ReadFull(rw, text)
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
					return
				}
				_, _ = io.WriteString(w, "served "+r.URL.Path)
			})
			c := h.connect()
			c.send(socket)
			call := <-l.calls
			c.send(behind)
			for _, text := range []string{request("/apps/1", ""), "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"} {
				other := h.connect()
				other.send(text)
				if _, body, _ := other.answer(); !strings.HasPrefix(body, "served ") {
					t.Errorf("got %q", body)
				}
			}
			call()
			if _, body, _ := c.answer(); body != behind {
				t.Errorf("got %d bytes, want %d", len(body), len(behind))
			}
			if n := l.left.Load(); n != 0 {
				t.Errorf("%d turns were given up", n)
			}
		})
	}
}

// TestTime04ATurnCountsOnce: the next request of the same connection has not waited.
func TestTime04ATurnCountsOnce(t *testing.T) {
	h, l := openQueue(t)
	var conns []net.Conn
	h.main.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		conns = append(conns, c)
		return ctx
	}
	var had []bool
	h.now(func(http.ResponseWriter, *http.Request) {
		had = append(had, conns[0].(interface{ TakeTurn() bool }).TakeTurn())
	})
	c := h.connect()
	c.send(socket)
	(<-l.calls)()
	c.want("", true)
	c.send(socket)
	c.want("", true)
	if got := fmt.Sprint(had); got != "[true false]" {
		t.Error(got)
	}
}

// TestTime04WhoGoesWhileHeWaitsGivesUp: a client that disconnects while it waits gives up its turn, and is
// reported as closed once.
func TestTime04WhoGoesWhileHeWaitsGivesUp(t *testing.T) {
	h, l := openQueue(t)
	c := h.connect()
	c.send(socket)
	<-l.calls
	_ = c.Close()
	for deadline := time.Now().Add(time.Minute); l.left.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it waits still")
		}
		<-time.After(time.Millisecond)
	}
	h.close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := fmt.Sprint(h.states); got != fmt.Sprint([]http.ConnState{http.StateNew, http.StateClosed}) {
		t.Errorf("got %v", got)
	}
}

// TestTime04ShutdownEndsWhoWaits: a shutdown ends waiting connections, and does not wait for their turns.
func TestTime04ShutdownEndsWhoWaits(t *testing.T) {
	h, l := openQueue(t)
	c := h.connect()
	c.send(socket)
	<-l.calls
	h.close()
	c.end()
	if n := l.left.Load(); n != 1 {
		t.Errorf("%d turns were given up, want 1", n)
	}
}

// TestTime04AcceptingCanBePaced: a connection is accepted only when Admit returns.
func TestTime04AcceptingCanBePaced(t *testing.T) {
	admit := make(chan struct{})
	h := open(t, func(o *Options) { o.Admit = func() { <-admit } })
	t.Cleanup(func() { close(admit) })
	first, second := h.connect(), h.connect()
	first.send(request("/apps/1", ""))
	first.want("POST /apps/1 ", true)
	h.mu.Lock()
	if n := len(h.states); n != 2 { // new and active
		t.Errorf("%d states, want those of the first", n)
	}
	h.mu.Unlock()
	admit <- struct{}{}
	second.send(request("/apps/1", ""))
	second.want("POST /apps/1 ", true)
}
