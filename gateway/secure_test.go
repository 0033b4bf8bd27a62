package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/certs/certstest"
	"github.com/sluicehq/sluice/gateway/client"
)

// presented are certificates that the test controls.
type presented struct {
	config   *tls.Config
	problem  atomic.Pointer[string]
	missing  atomic.Pointer[string]
	running  atomic.Bool
	answered atomic.Int64
}

func (p *presented) Config() *tls.Config { return p.config.Clone() }
func (p *presented) Run(ctx context.Context, _ net.Addr) {
	p.running.Store(true)
	<-ctx.Done()
	p.running.Store(false)
}
func (p *presented) Problems() []string {
	if text := p.problem.Load(); text != nil {
		return []string{*text}
	}
	return nil
}
func (p *presented) Missing() string {
	if text := p.missing.Load(); text != nil {
		return *text
	}
	return ""
}
func (p *presented) Expires() float64 { return 12345 }
func (p *presented) Challenge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
			p.answered.Add(1)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// secured is a node that speaks TLS, and the authority to trust.
type secured struct {
	*running
	certs     *presented
	authority *certstest.Authority
	registry  *prometheus.Registry
}

func runSecured(t *testing.T, change func(*gateway.Options)) *secured {
	t.Helper()
	a := certstest.New(t)
	s := &secured{certs: &presented{config: a.TLS()}, authority: a, registry: prometheus.NewRegistry()}
	s.running = run(t, func(o *gateway.Options) {
		o.TLS, o.Registry = s.certs, s.registry
		if change != nil {
			change(o)
		}
	})
	return s
}

// http2 returns a client that speaks HTTP/2 on one connection.
func (s *secured) http2() *http.Client {
	tr := &http.Transport{TLSClientConfig: s.authority.Client("localhost"), ForceAttemptHTTP2: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (s *secured) http1() *http.Client {
	tr := &http.Transport{TLSClientConfig: s.authority.Client("localhost"), DisableKeepAlives: true}
	return &http.Client{Transport: tr}
}

func (s *secured) publish(channel, data string) {
	s.t.Helper()
	ev := &broker.Event{Name: "hello", Data: []byte(data), Origin: broker.OriginHTTP}
	if _, err := s.log.Publish(s.t.Context(), "app", broker.Outgoing{Channel: channel, Event: ev}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *secured) dial(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{URL: "https://" + s.Addr(), Key: "key", TLS: s.authority.Client("localhost")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestRun01EachSpeaksWhatItWants: a client that offers HTTP/2 gets it, others get HTTP/1.1, WebSockets work
// with both, and a plain-text request gets a plain-text answer.
func TestRun01EachSpeaksWhatItWants(t *testing.T) {
	s := runSecured(t, nil)
	base := "https://" + s.Addr()
	for want, c := range map[string]*http.Client{"HTTP/2.0": s.http2(), "HTTP/1.1": s.http1()} {
		resp, err := c.Get(base + "/ready")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Proto != want || resp.StatusCode != http.StatusOK {
			t.Errorf("got %s %d, want %s 200", resp.Proto, resp.StatusCode, want)
		}
	}
	c := s.dial(t)
	if err := c.Subscribe(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	s.publish("lobby", "over TLS")
	select {
	case ev := <-c.Events():
		if string(ev.Data) != "over TLS" {
			t.Errorf("got %q", ev.Data)
		}
	case <-time.After(patience):
		t.Error("the event does not come")
	}
	resp, err := http.Get("http://" + s.Addr() + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("a plain request got %d %s", resp.StatusCode, text)
	}
	text = metricsOf(t, s.registry)
	for _, want := range []string{"sockudo_tls_handshakes_total", "sockudo_tls_certificate_expires_seconds"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no metric %s", want)
		}
	}
}

func metricsOf(t *testing.T, registry *prometheus.Registry) []byte {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		fmt.Fprintln(&b, f.GetName())
	}
	return b.Bytes()
}

// TestRun01CertificatesSpeakInReadiness: a problem of the certificate is named while readiness stays green,
// and a missing certificate makes it red.
func TestRun01CertificatesSpeakInReadiness(t *testing.T) {
	s := runSecured(t, nil)
	ask := func() (int, string) {
		resp, err := s.http2().Get("https://" + s.Addr() + "/ready")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	text := "the pair is bad"
	s.certs.problem.Store(&text)
	if status, said := ask(); status != http.StatusOK || !strings.Contains(said, text) {
		t.Errorf("with a problem: %d %s", status, said)
	}
	s.certs.missing.Store(&text)
	if status, said := ask(); status != http.StatusServiceUnavailable || !strings.Contains(said, text) {
		t.Errorf("without a certificate: %d %s", status, said)
	}
}

// TestRun01AnAnnouncedStopReachesWSS: 4200 arrives through TLS, and the connection ends with a close_notify,
// without which a client must treat it as cut off.
func TestRun01AnAnnouncedStopReachesWSS(t *testing.T) {
	s := runSecured(t, nil)
	conn, err := tls.Dial("tcp", s.Addr(), s.authority.Client("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /app/key?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := in.ReadBytes('}'); err != nil {
		t.Fatal(err) // the greeting
	}
	s.stop()
	text, err := io.ReadAll(in)
	if err != nil || !bytes.Contains(text, []byte("\x10\x68")) {
		t.Errorf("it ends with %q, %v, want 4200 (0x1068) and the farewell of TLS", text, err)
	}
}

// events reads an event stream.
type events struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Reader
}

func (s *secured) listen(c *http.Client, query string) *events {
	s.t.Helper()
	resp, err := c.Get("https://" + s.Addr() + "/app/key/events?" + query)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return &events{s.t, resp, bufio.NewReader(resp.Body)}
}

func (e *events) until(line string) {
	e.t.Helper()
	for got := ""; got != line+"\n"; {
		var err error
		if got, err = e.in.ReadString('\n'); err != nil {
			e.t.Fatalf("waiting for %q: %v", line, err)
		}
	}
}

// TestRun01EventStreamsOverHTTP2: a client has many streams on one connection, and each counts as a
// connection of its app. They get events beside other requests, and a stop announces their end.
func TestRun01EventStreamsOverHTTP2(t *testing.T) {
	limits := app.DefaultLimits
	limits.MaxConnections = 5
	s := runSecured(t, func(o *gateway.Options) {
		o.Apps = app.NewRegistry(&app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: limits})
	})
	c := s.http2()
	var all []*events
	for range 5 {
		e := s.listen(c, "channel=a")
		if e.resp.Proto != "HTTP/2.0" || e.resp.Header.Get("Content-Type") != "text/event-stream" || e.resp.StatusCode != 200 {
			t.Fatalf("got %s %d %v", e.resp.Proto, e.resp.StatusCode, e.resp.Header)
		}
		e.until("event: subscribed")
		all = append(all, e)
	}
	for range 3 {
		if e := s.listen(c, "channel=a"); e.resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one too many got %d", e.resp.StatusCode)
		}
	}
	s.publish("a", "x")
	for _, e := range all {
		e.until("event: hello")
	}
	// A stream that ends makes room.
	_ = all[4].resp.Body.Close()
	for end := time.Now().Add(patience); ; {
		e := s.listen(c, "channel=a")
		if e.resp.StatusCode == http.StatusOK {
			all[4] = e
			break
		}
		if time.Now().After(end) {
			t.Fatal("a reader who left is still counted")
		}
		_ = e.resp.Body.Close()
	}
	s.stop()
	for _, e := range all {
		e.until("event: reconnect")
		if rest, err := io.ReadAll(e.in); err != nil || !strings.HasPrefix(string(rest), `data: {"code":4200,`) {
			t.Errorf("it ends with %q, %v", rest, err)
		}
	}
}

// TestRun01OneConnectionHasSoManyStreams opens more streams than one connection may have: the rest waits for
// another connection, or its turn.
func TestRun01OneConnectionHasSoManyStreams(t *testing.T) {
	s := runSecured(t, nil)
	var dialled atomic.Int64
	tr := &http.Transport{TLSClientConfig: s.authority.Client("localhost"), ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	var open sync.WaitGroup
	for range 300 {
		open.Go(func() {
			resp, err := c.Get("https://" + s.Addr() + "/app/key/events?channel=a")
			if err != nil || resp.StatusCode != 200 {
				t.Errorf("%v %v", resp, err)
				return
			}
			t.Cleanup(func() { _ = resp.Body.Close() })
		})
	}
	open.Wait()
	if n := dialled.Load(); n < 2 {
		t.Errorf("%d connections have 300 streams", n)
	}
	s.publish("a", "x")
}

// TestRun01ASlowReaderOverHTTP2IsGivenUp: a stream that is not read is closed, while other requests on the
// same connection go on.
func TestRun01ASlowReaderOverHTTP2IsGivenUp(t *testing.T) {
	s := runSecured(t, func(o *gateway.Options) {
		o.Hub.SlowAge, o.Hub.QueueBytes, o.Hub.QueueFrames = time.Second, 1<<20, 64
	})
	c := s.http2()
	slow := s.listen(c, "channel=a")
	slow.until("event: subscribed")
	data := strings.Repeat("x", 8<<10)
	over := make(chan struct{})
	go func() {
		defer close(over)
		// The client buffers as much as its window allows.
		for range 2000 {
			ev := &broker.Event{Name: "hello", Data: []byte(data), Origin: broker.OriginHTTP}
			if _, err := s.log.Publish(t.Context(), "app", broker.Outgoing{Channel: "a", Event: ev}); err != nil {
				return
			}
		}
	}()
	<-over
	for end := time.Now().Add(patience); s.connected() > 0; {
		if time.Now().After(end) {
			t.Fatal("it is still connected")
		}
		resp, err := c.Get("https://" + s.Addr() + "/health")
		if err != nil {
			t.Fatalf("another request on the connection: %v", err)
		}
		_ = resp.Body.Close()
	}
	if _, err := io.ReadAll(slow.in); err == nil {
		t.Log("the stream has ended in order, with what the client had a window for")
	}
}

func (s *secured) connected() (n float64) {
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "sockudo_connected" {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// TestRun01StrangersWhoDoNotShakeHands opens connections that send nothing, or half a handshake: they are
// bounded per address, refused with a TLS alert, counted, and closed in time.
func TestRun01StrangersWhoDoNotShakeHands(t *testing.T) {
	s := runSecured(t, func(o *gateway.Options) { o.MaxHandshakes, o.HeaderTimeout = 3, 2*time.Second })
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, text)
		return c
	}
	silent := []net.Conn{dial(""), dial("\x16\x03\x01\x02\x00\x01"), dial("")}
	for end, told := time.Now().Add(patience), 0; told == 0; {
		// On a busy machine the connections above may have been closed by now, but not these as well.
		for _, c := range []net.Conn{dial(""), dial(""), dial(""), dial("")} {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if answer, _ := io.ReadAll(c); string(answer) == "\x15\x03\x03\x00\x02\x02\x50" {
				told++
			}
		}
		if time.Now().After(end) {
			t.Fatal("one too many is not sent away")
		}
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("one that says nothing is kept")
		}
	}
	// Clients that finish the handshake are accepted again.
	for end := time.Now().Add(patience); ; {
		resp, err := s.http1().Get("https://" + s.Addr() + "/health")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestRun01ThePROXYHeaderComesBeforeTLS: a PROXY header may precede the encrypted bytes, as load balancers of
// TCP send it.
func TestRun01ThePROXYHeaderComesBeforeTLS(t *testing.T) {
	var lines bytes.Buffer
	var mu sync.Mutex
	s := runSecured(t, func(o *gateway.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.ProxyProtocol = gateway.ProxyRequired
		o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return lines.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	ask := func(header string) error {
		raw, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_, _ = io.WriteString(raw, header)
		_ = raw.SetDeadline(time.Now().Add(patience))
		conn := tls.Client(raw, s.authority.Client("localhost"))
		if _, err := io.WriteString(conn, "POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %d", resp.StatusCode)
		}
		return err
	}
	if err := ask("PROXY TCP4 203.0.113.9 127.0.0.1 1234 443\r\n"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if !strings.Contains(lines.String(), "203.0.113.9") {
		t.Errorf("the client's address is not in\n%s", lines.String())
	}
	mu.Unlock()
	if err := ask(""); err == nil {
		t.Error("a connection without the header was let in")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRun01PlainHTTPIsSentToHTTPS: browsers are redirected, the ACME challenge is answered, and a body is not
// accepted.
func TestRun01PlainHTTPIsSentToHTTPS(t *testing.T) {
	s := runSecured(t, func(o *gateway.Options) { o.PlainListen = "127.0.0.1:0" })
	_, port, _ := net.SplitHostPort(s.Addr())
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, host, path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.PlainAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	for _, w := range []struct {
		method, host, path string
		status             int
		to                 string
	}{
		{"GET", "ws.example.com", "/a?b=c", 308, "https://ws.example.com/a?b=c"},
		{"HEAD", "ws.example.com:8080", "/", 308, "https://ws.example.com:" + port + "/"},
		{"GET", "[::1]:80", "/", 308, "https://[::1]:" + port + "/"},
		{"GET", "ws.example.com", "//evil.example/x", 308, "https://ws.example.com//evil.example/x"},
		{"POST", "ws.example.com", "/apps/app/events", 403, ""},
		{"GET", "ws.example.com", "/.well-known/acme-challenge/x", 200, ""},
	} {
		resp := ask(w.method, w.host, w.path)
		if resp.StatusCode != w.status || resp.Header.Get("Location") != w.to {
			t.Errorf("%s %s%s: %d %q, want %d %q", w.method, w.host, w.path, resp.StatusCode, resp.Header.Get("Location"), w.status, w.to)
		}
	}
}

// TestRun01ADevelopmentServerWithTLSStaysOfThisMachine: the host decides, with HTTP/2 as well.
func TestRun01ADevelopmentServerWithTLSStaysOfThisMachine(t *testing.T) {
	s := runSecured(t, func(o *gateway.Options) { o.Local, o.Unsigned = true, true })
	for _, w := range []struct {
		host, origin string
		status       int
	}{
		{"localhost", "", 200}, {"127.0.0.1:1", "https://localhost:5173", 401}, {"evil.example", "", 403}, {"localhost", "https://evil.example", 403},
	} {
		for _, c := range []*http.Client{s.http2(), s.http1()} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr()+"/apps/app/events", strings.NewReader(`{"name":"x","channel":"a","data":"1"}`))
			if err != nil {
				t.Fatal(err)
			}
			if req.Host = w.host; w.origin != "" {
				req.Header.Set("Origin", w.origin)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != w.status {
				t.Errorf("%s from %q: %d %s, want %d", w.host, w.origin, resp.StatusCode, text, w.status)
			}
		}
	}
}

// TestRun01ARefusedBodyDoesNotEndTheOthers: a request is refused while its body is being sent, and an event
// stream on the same HTTP/2 connection goes on.
func TestRun01ARefusedBodyDoesNotEndTheOthers(t *testing.T) {
	s := runSecured(t, nil)
	c := s.http2()
	e := s.listen(c, "channel=a")
	e.until("event: subscribed")
	for range 20 {
		resp, err := c.Post("https://"+s.Addr()+"/apps/app/events", "application/json", strings.NewReader(strings.Repeat("x", 300<<10)))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Status int }
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d %v", resp.StatusCode, err)
		}
		_ = resp.Body.Close()
	}
	s.publish("a", "x")
	e.until("event: hello")
}

// TestRun01AStopDoesNotWaitForStreams: readers of event streams over HTTP/2 are told 4200 at once, with a
// path prefix as well.
func TestRun01AStopDoesNotWaitForStreams(t *testing.T) {
	for _, prefix := range []string{"", "/rt"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			s := runSecured(t, func(o *gateway.Options) { o.PathPrefix, o.Drain = prefix, time.Hour })
			resp, err := s.http2().Get("https://" + s.Addr() + prefix + "/app/key/events?channel=c")
			if err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(resp.Body)
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			told := make(chan string, 1)
			go func() {
				rest, _ := io.ReadAll(in)
				told <- string(rest)
			}()
			s.stop()
			if rest := <-told; !strings.Contains(rest, "4200") {
				t.Errorf("the reader was told %q", rest)
			}
		})
	}
}
