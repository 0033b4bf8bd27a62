//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// oneClient and otherClient are source addresses of test clients. The proxies, at 127.0.0.1, pass them on.
const oneClient, otherClient = "127.0.0.2", "127.0.0.3"

// proxiedGateway runs a gateway that trusts a proxy on this machine.
func proxiedGateway(t *testing.T, keys string) *server {
	t.Helper()
	dir := t.TempDir()
	if !strings.Contains(keys, "shutdown:") {
		keys += "\nshutdown: {ready_delay_seconds: 0}"
	}
	s := launch(t, dir, fmt.Sprintf(`mode: production
host: 127.0.0.1
port: 0
metrics: {port: 0}
log: {format: json, level: debug}
websocket_max_payload_kb: 64
trusted_proxies: [127.0.0.1]
nats: {embedded: {port: -1, store_dir: %q}}
apps: [{id: %s, key: %s, secret: %s, max_event_payload_in_kb: 900}]
%s
`, filepath.Join(dir, "store"), appID, appKey, appSecret, keys))
	eventually(t, "the gateway serves", func() bool {
		s.find()
		return s.HTTP != ""
	})
	return s
}

// from returns a dial function whose connections have this source address.
func from(address string) func(ctx context.Context, network, to string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext
}

func wireFrom(t *testing.T, address, to, text string) *wire {
	t.Helper()
	conn, err := from(address)(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{t: t, conn: conn}
	w.say(text)
	return w
}

// prefixed returns the handshake with a path prefix.
func prefixed(path string) string {
	return strings.Replace(handshake, "GET /app/", "GET "+path+"/app/", 1)
}

// signedThrough returns a REST client that talks through a balancer with TLS.
func signedThrough(t *testing.T, b *balancer, path string) *client.Signed {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: b.trust, DialContext: from(oneClient)}
	t.Cleanup(transport.CloseIdleConnections)
	s, err := client.NewSigned(client.SignedOptions{
		URL: "https://" + b.secure + path, AppID: appID, Key: appKey, Secret: appSecret,
		HTTP: &http.Client{Transport: transport, Timeout: patience},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// subscribedThrough returns a client subscribed through a balancer with TLS.
func subscribedThrough(t *testing.T, b *balancer, path, channel string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		URL: "wss://" + b.secure + path, Key: appKey, TLS: b.trust, Dial: from(oneClient), Reconnect: true, HandshakeTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Subscribe(ctx, channel); err != nil {
		t.Fatal(err)
	}
	return c
}

// proxySamples maps each sample to the settings that its gateways need.
var proxySamples = map[string]string{
	nginxSample: "proxy_header: x-forwarded-for", haproxySample: "proxy_header: x-forwarded-for", tcpSample: "proxy_protocol: required",
}

// TestWeeksProxiesPassEverythingOn runs each sample as documented, with a path prefix, and sends through it
// what proxies are known to break.
func TestWeeksProxiesPassEverythingOn(t *testing.T) {
	t.Parallel()
	for sample, keys := range proxySamples {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			const path = "/realtime"
			s := proxiedGateway(t, keys+"\nwebsocket: {compression: true}\npath_prefix: "+path)
			var pairs []string
			if sample != nginxSample {
				pairs = []string{"uri /ready", "uri " + path + "/ready"}
			}
			b := newBalancer(t, sample, []string{s.HTTP}, pairs...)
			usable(t, b, path)
			passesEvents(t, b, path)
			passesLargeOnes(t, b, path)
			tellsTheClient(t, s, b, path)
			host, port, _ := strings.Cut(b.plain, ":")
			js := script(t, "reconnect.mjs", host, port, path)
			for state := (struct{ State string }{}); state.State != "connected"; {
				js.line(&state)
			}
		})
	}
}

// usable waits until the balancer has found the gateway.
func usable(t *testing.T, b *balancer, path string) {
	t.Helper()
	eventually(t, "the balancer has a gateway", func() bool {
		resp, err := http.Get("http://" + b.plain + path + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func passesEvents(t *testing.T, b *balancer, path string) {
	t.Helper()
	// Most of these characters have a meaning in a URL.
	const channel = "a;b=c,d@e.f-_g"
	signed, c := signedThrough(t, b, path), subscribedThrough(t, b, path, channel)
	for _, data := range []string{"small", strings.Repeat("large ", 150<<10)} {
		if err := signed.Publish(t.Context(), client.Publish{Name: "n", Data: data, Channels: []string{channel}}); err != nil {
			t.Fatalf("publishing %d bytes: %v", len(data), err)
		}
		if ev := <-c.Events(); ev.Data != data {
			t.Fatalf("%d bytes came as %d: %.100q", len(data), len(ev.Data), ev.Data)
		}
	}
	var answer struct{ Occupied bool }
	if err := signed.Do(t.Context(), http.MethodGet, []string{"channels", channel}, nil, nil, &answer); err != nil || !answer.Occupied {
		t.Errorf("asking for a channel by its path: %v, %+v", err, answer)
	}
	err := signed.Publish(t.Context(), client.Publish{Name: "n", Data: strings.Repeat("x", 3<<19), Channels: []string{channel}})
	var refused *client.APIError
	if !errors.As(err, &refused) || refused.Status != http.StatusRequestEntityTooLarge || refused.Code != "payload_too_large" {
		t.Errorf("a body above http.max_body: %v", err)
	}
}

// passesLargeOnes sends a message of the maximum size, and one that is a byte larger.
func passesLargeOnes(t *testing.T, b *balancer, path string) {
	t.Helper()
	ping := func(size int) string {
		const head, end = `{"event":"pusher:ping","data":"`, `"}`
		return clientFrame(0x81, head+strings.Repeat("x", size-len(head)-len(end))+end)
	}
	w := wireFrom(t, oneClient, b.plain, prefixed(path))
	w.until("connection_established")
	w.say(ping(64 << 10))
	w.until("pusher:pong")
	w.say(ping(64<<10 + 1))
	w.until("\x03\xf1") // 1009
	offers := strings.Replace(prefixed(path), "Upgrade: ", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: ", 1)
	wireFrom(t, oneClient, b.plain, offers).until("xtensions: permessage-deflate") // HAProxy writes header names in lower case
}

// tellsTheClient checks that the log names the address of a refused client, even if the client puts another
// address into every header it knows.
func tellsTheClient(t *testing.T, s *server, b *balancer, path string) {
	t.Helper()
	const lie = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n" +
		"CF-Connecting-IP: 203.0.113.9\r\nTrue-Client-IP: 203.0.113.9\r\n"
	for _, client := range []string{oneClient, otherClient} {
		text := strings.Replace(prefixed(path), "/app/"+appKey, "/app/nobody-"+client, 1)
		wireFrom(t, client, b.plain, strings.Replace(text, "Upgrade: ", lie+"Upgrade: ", 1)).until("4001")
		eventually(t, "the log names "+client, func() bool {
			return s.line("a connection was refused", map[string]string{"key": "nobody-" + client, "address": client + ":"}) != nil
		})
	}
	if strings.Contains(s.logs.String(), `"address":"203.0.113.9`) {
		t.Error("a client has chosen its address")
	}
	// A PROXY protocol line is accepted from the proxy only, never from a client.
	const claim = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 6001\r\n"
	w := wireFrom(t, oneClient, b.plain, claim+prefixed(path))
	w.ended()
	if said := string(w.seen); strings.Contains(said, "connection_established") {
		t.Errorf("a client has sent a PROXY header and got %q", said)
	}
}

// TestWeeksProxiesABrokenOneIsNamed removes from nginx's configuration the lines that are forgotten most
// often. The answer and the gateway's log say what is missing.
func TestWeeksProxiesABrokenOneIsNamed(t *testing.T) {
	t.Parallel()
	s := proxiedGateway(t, proxySamples[nginxSample])
	for name, c := range map[string]struct {
		without []string
		says    string
	}{
		"Connection": {[]string{"proxy_set_header Connection $sluice_connection;", ""}, "no `Connection: Upgrade`"},
		"Upgrade":    {[]string{"proxy_set_header Upgrade $http_upgrade;", ""}, "no header `Upgrade: websocket`"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBalancer(t, nginxSample, []string{s.HTTP}, c.without...)
			usable(t, b, "")
			dialWire(t, b.plain, handshake).until(c.says)
			eventually(t, "the log says so", func() bool {
				return s.line("a WebSocket handshake was refused", map[string]string{"reason": strings.ToLower(name), "text": c.says}) != nil
			})
		})
	}
}

// TestWeeksProxiesIdleConnectionsLive: pings keep an idle connection open beyond the proxy's idle time-out.
// With an activity_timeout longer than that time-out the connection is closed.
func TestWeeksProxiesIdleConnectionsLive(t *testing.T) {
	t.Parallel()
	const idle = 8 * time.Second
	times := map[string][]string{
		nginxSample:   {"proxy_read_timeout 180s", "proxy_read_timeout 8s"},
		haproxySample: {"timeout tunnel 180s", "timeout tunnel 8s"},
		tcpSample:     {"timeout client 180s", "timeout client 8s", "timeout server 180s", "timeout server 8s"},
	}
	for sample, keys := range proxySamples {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			lively := newBalancer(t, sample, []string{proxiedGateway(t, keys+"\nactivity_timeout: 1").HTTP}, times[sample]...)
			silent := newBalancer(t, sample, []string{proxiedGateway(t, keys).HTTP}, times[sample]...)
			usable(t, lively, "")
			usable(t, silent, "")

			w := dialWire(t, lively.plain, handshake)
			w.until("connection_established")
			cut := dialWire(t, silent.plain, handshake)
			cut.until("connection_established")
			_ = cut.conn.SetDeadline(time.Now().Add(patience))
			for began := time.Now(); time.Since(began) < 2*idle; {
				w.seen = nil
				w.until("pusher:ping")
				w.say(clientFrame(0x81, `{"event":"pusher:pong"}`))
			}
			w.say(subscribeFrame("still-here"))
			w.until("subscription_succeeded")
			cut.ended()
		})
	}
}

// TestWeeksProxiesLimitsGoByTheClient: one client uses up its limit of connections without a handshake,
// through a proxy that passes connections on. The limit of another client is not affected.
func TestWeeksProxiesLimitsGoByTheClient(t *testing.T) {
	t.Parallel()
	s := proxiedGateway(t, proxySamples[tcpSample]+"\nhttp: {max_handshakes_per_address: 4, header_timeout: 10m}")
	b := newBalancer(t, tcpSample, []string{s.HTTP})
	usable(t, b, "")
	said := make(chan string, 1)
	for range 5 {
		w := wireFrom(t, oneClient, b.plain, "")
		_ = w.conn.SetDeadline(time.Time{})
		go func() {
			buf := make([]byte, 4096)
			if n, _ := w.conn.Read(buf); n > 0 {
				said <- string(buf[:n])
			}
		}()
	}
	if text := <-said; !strings.HasPrefix(text, "HTTP/1.1 503 ") || !strings.Contains(text, "Retry-After: ") {
		t.Errorf("one too many got %q", text)
	}
	wireFrom(t, otherClient, b.plain, handshake).until("connection_established")
	eventually(t, "the log names the client", func() bool {
		return s.line("connections are refused because too many of their address have not sent a request yet; if it is a proxy, list it in trusted_proxies",
			map[string]string{"address": oneClient}) != nil
	})
}

// TestWeeksProxiesADrainIsNotNoticed stops one of two gateways behind a balancer while clients connect, stay
// and publish. No request fails.
func TestWeeksProxiesADrainIsNotNoticed(t *testing.T) {
	t.Parallel()
	for sample := range proxySamples {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			// The balancer of a busy machine may notice too late that a gateway is stopping. Then it is tried
			// with a longer delay.
			for delay := 20; !drain(t, sample, delay); delay *= 4 {
				t.Logf("the balancer took more than %d s", delay)
			}
		})
	}
}

// traffic publishes and connects through a balancer, and records what fails.
type traffic struct {
	published, came atomic.Int64
	// askedBack counts the clients that connected at the last moment and were asked to reconnect at once.
	askedBack atomic.Int64
	mu        sync.Mutex
	problems  []string
}

func (f *traffic) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// breath is the pause between two rounds. It leaves the processors to the balancer.
const breath = 5 * time.Millisecond

func (f *traffic) publish(ctx context.Context, signed *client.Signed) {
	for ; ctx.Err() == nil; <-time.After(breath) {
		if err := signed.Publish(context.WithoutCancel(ctx), client.Publish{Name: "n", Data: "x", Channels: []string{"busy"}}); err != nil {
			f.problem("publishing: %v", err)
		}
		f.published.Add(1)
	}
}

// connect connects as clients do: a client closed with 4200 reconnects at once, and must not get 4200 again.
func (f *traffic) connect(ctx context.Context, b *balancer) {
	for ; ctx.Err() == nil; <-time.After(breath) {
		dial := func() (*client.Client, error) {
			return client.Dial(context.WithoutCancel(ctx), client.Options{URL: "http://" + b.plain, Key: appKey, HandshakeTimeout: patience})
		}
		c, err := dial()
		if told := (&client.CloseError{}); errors.As(err, &told) && told.AtOnce() {
			f.askedBack.Add(1)
			c, err = dial()
		}
		if err != nil {
			f.problem("connecting: %v", err)
			continue
		}
		_ = c.Close()
		f.came.Add(1)
	}
}

// goesOn waits until more publishes and connections have succeeded.
func (f *traffic) goesOn(t *testing.T) {
	t.Helper()
	p, n := f.published.Load(), f.came.Load()
	eventually(t, "publishing and connecting go on", func() bool { return f.published.Load() > p+20 && f.came.Load() > n+20 })
}

// drain stops a gateway that keeps serving for delay seconds. It returns false if the balancer did not notice
// within that time.
func drain(t *testing.T, sample string, delay int) bool {
	nats := natsNode(t)
	gateway := func(delay int) *server {
		return serve(t, t.TempDir(), fmt.Sprintf("mode: production\nhost: 127.0.0.1\nport: 0\nmetrics: {port: 0}\nlog: {format: json}\nnats: {url: %q}\n"+
			"apps: [{id: %s, key: %s, secret: %s}]\ntrusted_proxies: [127.0.0.1]\nproxy_protocol: optional\n"+
			"shutdown: {ready_delay_seconds: %d, drain_seconds: 20}\n", nats, appID, appKey, appSecret, delay))
	}
	stays, leaves := gateway(0), gateway(delay)
	b := newBalancer(t, sample, []string{stays.HTTP, leaves.HTTP})
	usable(t, b, "")

	signed := signedThrough(t, b, "")
	var clients []*client.Client
	for range 8 {
		clients = append(clients, subscribedThrough(t, b, "", "calm"))
	}
	if n := metric(t, leaves, "sockudo_connected"); n < 2 {
		t.Fatalf("the gateway that is to leave has %v of %d connections", n, len(clients))
	}
	f := &traffic{}
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	busy.Go(func() { f.publish(ctx, signed) })
	busy.Go(func() { f.connect(ctx, b) })
	f.goesOn(t)
	if err := leaves.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	inTime := true
	if sample != nginxSample {
		eventually(t, "the balancer sends nobody to a gateway that is to stop", func() bool { return b.down("gateway-2") })
		f.goesOn(t) // everything in flight has arrived
		const connections = "sockudo_connections_total"
		before, there := metricIf(t, leaves, connections)
		f.goesOn(t)
		after, still := metricIf(t, leaves, connections)
		inTime = there && still && !strings.Contains(leaves.logs.String(), "stopping: ")
		if inTime && after != before {
			t.Errorf("%v clients were sent to a gateway that is about to stop", after-before)
		}
	}
	<-leaves.done
	if leaves.err != nil {
		t.Errorf("the gateway ended with %v", leaves.err)
	}
	f.goesOn(t)
	cancel()
	busy.Wait()
	if !inTime {
		return false
	}
	for _, text := range f.problems {
		t.Error(text)
	}
	// nginx notices only when a connection fails, so clients reach the gateway until its port is closed.
	// HAProxy knows before.
	if n := f.askedBack.Load(); n > 0 && sample != nginxSample {
		t.Errorf("%d clients were sent to a gateway that stops", n)
	}
	eventually(t, "all clients are back", func() bool { return metric(t, stays, "sockudo_connected") == float64(len(clients)) })
	subscribedAgain(t, signed, clients)
	return true
}

func subscribedAgain(t *testing.T, signed *client.Signed, clients []*client.Client) {
	t.Helper()
	got := make([]bool, len(clients))
	eventually(t, "all clients are subscribed again", func() bool {
		if err := signed.Publish(t.Context(), client.Publish{Name: "n", Data: "x", Channels: []string{"calm"}}); err != nil {
			t.Fatal(err)
		}
		all := true
		for i, c := range clients {
			select {
			case <-c.Events():
				got[i] = true
			default:
			}
			all = all && got[i]
		}
		return all
	})
}

// TestWeeksProxiesConnectionsOfABalancer: a gateway that is about to stop asks with Connection: close for no
// more requests on a connection. Otherwise it keeps an idle connection for as long as idle_timeout says.
func TestWeeksProxiesConnectionsOfABalancer(t *testing.T) {
	t.Parallel()
	s := proxiedGateway(t, "http: {idle_timeout: 1s}\nshutdown: {ready_delay_seconds: 120}")
	const request = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	w := dialWire(t, s.HTTP, request)
	w.until("200 OK")
	if strings.Contains(string(w.seen), "Connection: close") {
		t.Errorf("it said %q", w.seen)
	}
	w.ended()

	w = dialWire(t, s.HTTP, request)
	w.until("200 OK")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/ready says no", func() bool {
		status, draining := asksReady(t, s.HTTP)
		return status == http.StatusServiceUnavailable && draining
	})
	for _, path := range []string{"/health", "/ready", "/apps/" + appID + "/channels"} {
		w = dialWire(t, s.HTTP, strings.Replace(request, "/health", path, 1))
		w.until("Connection: close")
		w.ended()
	}
	dialWire(t, s.HTTP, handshake).until("connection_established")
	s.kill() // rather than wait for the end of the delay
}
