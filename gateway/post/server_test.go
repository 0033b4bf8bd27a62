package post

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server of this package in front of a net/http server.
type house struct {
	t     *testing.T
	front *Server
	main  *http.Server
	ended sync.WaitGroup

	mu       sync.Mutex
	states   []http.ConnState
	panicked []any
	// served counts the requests served by this package.
	served int
	serve  http.HandlerFunc
}

func open(t *testing.T, change func(*Options)) *house {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, serve: func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}}
	opt := Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			h.served++
			h.mu.Unlock()
			h.handle(w, r)
		}),
		Takes:         func(path string) bool { return strings.HasPrefix(path, "/apps/") },
		HeaderTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, AnswerTimeout: time.Minute,
		State: func(_ net.Conn, s http.ConnState) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.states = append(h.states, s)
		},
		Panicked: func(reason any) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.panicked = append(h.panicked, reason)
		},
		Failed: func(error) {},
	}
	if change != nil {
		change(&opt)
	}
	h.front = Serve(l, opt)
	h.main = &http.Server{ReadHeaderTimeout: time.Minute, ConnState: h.front.State, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.handle(w, r) })}
	h.ended.Go(func() { _ = h.main.Serve(h.front) })
	t.Cleanup(h.close)
	return h
}

// now replaces the handler.
func (h *house) now(serve http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serve = serve
}

func (h *house) handle(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	serve := h.serve
	h.mu.Unlock()
	serve(w, r)
}

func (h *house) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = h.front.Close()
	<-h.front.Accepted()
	h.front.Shutdown(ctx)
	_ = h.main.Close()
	h.ended.Wait()
	h.front.Wait()
}

func (h *house) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served
}

// client is a connection to the house.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (h *house) connect() *client {
	h.t.Helper()
	c, err := net.Dial("tcp", h.front.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &client{h.t, c, bufio.NewReader(c)}
}

func (c *client) send(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		if _, err := io.WriteString(c, text); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer reads a response, and reports whether the connection stays open.
func (c *client) answer() (status int, body string, more bool) {
	c.t.Helper()
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if r.Header.Get("Date") == "" {
		c.t.Error("an answer has no date")
	}
	return r.StatusCode, string(text), !r.Close
}

func (c *client) want(body string, more bool) {
	c.t.Helper()
	status, got, goes := c.answer()
	if status != http.StatusOK || got != body || goes != more {
		c.t.Errorf("got %d %q, goes on: %v; want %q, goes on: %v", status, got, goes, body, more)
	}
}

// end expects the connection to end.
func (c *client) end() {
	c.t.Helper()
	if n, err := c.in.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("the connection goes on: %v", err)
	}
}

func request(path, body string, fields ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s", path, strings.Join(append(fields, ""), "\r\n"), len(body), body)
}

func TestPlainRequestsAreServedHere(t *testing.T) {
	h := open(t, nil)
	c := h.connect()
	c.send(request("/apps/1", "one"))
	c.want("POST /apps/1 one", true)
	// Several requests at once, and in pieces of any size.
	c.send(request("/apps/2", "two") + request("/apps/3", "") + request("/apps/4", "four")[:30])
	c.want("POST /apps/2 two", true)
	c.want("POST /apps/3 ", true)
	c.send(request("/apps/4", "four")[30:])
	c.want("POST /apps/4 four", true)
	large := strings.Repeat("0123456789", 10_000)
	for _, b := range []byte(request("/apps/5", "five")) {
		c.send(string(b))
	}
	c.want("POST /apps/5 five", true)
	c.send(request("/apps/6", large))
	c.want("POST /apps/6 "+large, true)
	c.send(request("/apps/7", "last", "Connection: close"))
	c.want("POST /apps/7 last", false)
	c.end()
	if n := h.count(); n != 7 {
		t.Errorf("%d requests were served here, want all 7", n)
	}
}

func TestOtherRequestsAreServedByTheLibrary(t *testing.T) {
	get := "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
	chunked := "POST /apps/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	long := "POST /apps/1 HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2*room) + "\r\nContent-Length: 3\r\n\r\nabc"
	for _, c := range []struct{ about, text, want string }{
		{"another method", get, "GET /x "}, {"another path", request("/other", "abc"), "POST /other abc"}, {"chunks", chunked, "POST /apps/1 abc"},
		{"a header that is longer than the buffer", long, "POST /apps/1 abc"},
		{"no length, which means no body", "POST /apps/1 HTTP/1.1\r\nHost: a\r\n\r\n", "POST /apps/1 "},
		{"no length and much else", "POST /apps/1 HTTP/1.1\r\nhost: a\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n", "POST /apps/1 "},
	} {
		t.Run(c.about, func(t *testing.T) {
			h := open(t, nil)
			first := h.connect()
			first.send(c.text)
			first.want(c.want, true)
			first.send(request("/apps/2", "behind it"))
			first.want("POST /apps/2 behind it", true)
			if n := h.count(); n != 0 {
				t.Errorf("%d requests were served here", n)
			}
			second := h.connect()
			second.send(request("/apps/3", "before it") + c.text)
			second.want("POST /apps/3 before it", true)
			second.want(c.want, true)
			if n := h.count(); n != 1 {
				t.Errorf("%d requests were served here, want the one before", n)
			}
			third := h.connect()
			for _, b := range []byte(c.text) {
				third.send(string(b))
			}
			third.want(c.want, true)
		})
	}
}

func TestBodiesThatNobodyReads(t *testing.T) {
	h := open(t, nil)
	h.now(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	c := h.connect()
	c.send(request("/apps/1", "is here") + request("/apps/2", "too"))
	for range 2 {
		if status, _, more := c.answer(); status != http.StatusTeapot || !more {
			t.Errorf("got %d, goes on: %v", status, more)
		}
	}
	// The server does not wait for the rest of the body.
	c.send("POST /apps/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegins")
	if status, _, more := c.answer(); status != http.StatusTeapot || more {
		t.Errorf("got %d, goes on: %v", status, more)
	}
	c.end()
}

func TestBodiesThatDoNotCome(t *testing.T) {
	h := open(t, nil)
	failed := make(chan error, 1)
	h.now(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := io.ReadAll(r.Body)
		failed <- err
	})
	c := h.connect()
	c.send("POST /apps/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegins")
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, _, more := c.answer(); more {
		t.Error("a connection goes on in the middle of a body")
	}
	gone := h.connect()
	h.now(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
	})
	gone.send("POST /apps/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegins")
	_ = gone.Close()
	if err := <-failed; err == nil {
		t.Error("a body that ended too soon is whole")
	}
}

func TestHandlersThatPanic(t *testing.T) {
	h := open(t, nil)
	h.now(func(http.ResponseWriter, *http.Request) { panic("oh") })
	c := h.connect()
	c.send(request("/apps/1", ""))
	c.end()
	h.now(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	c = h.connect()
	c.send(request("/apps/1", ""))
	c.want("fine", true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.panicked) != 1 || h.panicked[0] != "oh" {
		t.Errorf("told of %v", h.panicked)
	}
}

func TestSilentConnectionsEnd(t *testing.T) {
	for about, text := range map[string]string{"nothing": "", "a part of a header": "POST /apps/1 HT"} {
		h := open(t, func(o *Options) { o.HeaderTimeout = 20 * time.Millisecond })
		c := h.connect()
		c.send(text)
		c.end()
		h.close()
		h.mu.Lock()
		if got := fmt.Sprint(h.states); got != fmt.Sprint([]http.ConnState{http.StateNew, http.StateClosed}) {
			t.Errorf("%s: got %v", about, got)
		}
		h.mu.Unlock()
	}
	h := open(t, func(o *Options) { o.IdleTimeout = 20 * time.Millisecond })
	c := h.connect()
	c.send(request("/apps/1", ""))
	c.want("POST /apps/1 ", true)
	c.end()
}

// TestConnectionsAreKnownOnce: a connection that is handed over is not reported as new a second time.
func TestConnectionsAreKnownOnce(t *testing.T) {
	h := open(t, nil)
	c := h.connect()
	c.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	c.want("GET /x ", true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := fmt.Sprint(h.states); got != fmt.Sprint([]http.ConnState{http.StateNew, http.StateActive}) {
		t.Errorf("got %v", got)
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	h := open(t, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	h.now(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "done")
	})
	idle, busy := h.connect(), h.connect()
	busy.send(request("/apps/1", ""))
	<-begun
	_ = h.front.Close()
	<-h.front.Accepted()
	down := make(chan struct{})
	go func() {
		h.front.Shutdown(context.Background())
		close(down)
	}()
	idle.end()
	select {
	case <-down:
		t.Fatal("it did not wait for a request")
	default:
	}
	close(goOn)
	busy.want("done", false)
	<-down
	h.front.Wait()
	_ = h.main.Close()
	h.ended.Wait()
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	h := open(t, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	h.now(func(http.ResponseWriter, *http.Request) { close(begun); <-goOn })
	busy := h.connect()
	busy.send(request("/apps/1", ""))
	<-begun
	_ = h.front.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.front.Shutdown(ctx)
	busy.end()
	close(goOn)
	h.front.Wait()
	_ = h.main.Close()
	h.ended.Wait()
}

// TestAnEmptyLineBeginsNoRequest: a client that sends an empty line after its body is idle.
func TestAnEmptyLineBeginsNoRequest(t *testing.T) {
	h := open(t, func(o *Options) { o.HeaderTimeout = 20 * time.Millisecond })
	c := h.connect()
	for c.send(request("/apps/1", "")); ; c.send(request("/apps/1", "")) {
		r, err := http.ReadResponse(c.in, nil)
		if err == nil {
			_ = r.Body.Close()
			break
		}
		c = h.connect() // the timeout covers the first header as well, which may be slow on this machine
	}
	c.send("\r\n")
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := io.Copy(io.Discard, c.in); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection does not stay: %d, %v", n, err)
	}
}

// TestALargeBodyThatIsRefusedResetsNoAnswer: a client that sends much more than is read has time to read the
// response, although its write fails in the end.
func TestALargeBodyThatIsRefusedResetsNoAnswer(t *testing.T) {
	h := open(t, nil)
	h.now(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	c := h.connect()
	began := time.Now()
	if _, err := io.WriteString(c, request("/apps/large", strings.Repeat("x", 32<<20))); err == nil {
		t.Fatal("the whole body was taken")
	}
	if took := time.Since(began); took < lingerTime {
		t.Errorf("the connection was reset after %v, before its client may have read the answer", took)
	}
	if status, _, more := c.answer(); status != http.StatusRequestEntityTooLarge || more {
		t.Errorf("status %d, goes on: %v", status, more)
	}
}
