package gateway_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway"
)

const (
	theProxy  = "127.0.0.2"
	aStranger = "127.0.0.3"
)

// behindProxies runs a node that trusts one address of this machine as a proxy.
func behindProxies(t *testing.T, change func(*gateway.Options)) (*running, func(limit string) float64) {
	if runtime.GOOS != "linux" {
		t.Skip("needs more than one loopback address")
	}
	r, registry := runApps(t, func(o *gateway.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(theProxy + "/32")}
		o.MaxHandshakes, o.Unsigned, o.HeaderTimeout = 3, true, time.Hour
		if change != nil {
			change(o)
		}
	})
	return r, func(limit string) float64 { return gauge(t, registry, "sockudo_limits_total", "limit="+limit) }
}

// from connects from a given address of this machine.
func (r *running) from(address, text string) *line {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := d.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	l := newLine(r.t, conn)
	l.say(text)
	return l
}

func v1(client string) string {
	family, to := "TCP4", "192.0.2.1"
	if strings.Contains(client, ":") {
		family, to = "TCP6", "2001:db8::1"
	}
	return fmt.Sprintf("PROXY %s %s %s 4711 6001\r\n", family, client, to)
}

// v2 returns a PROXY header of version 2 with the command 0 (local) or 1 (proxy).
func v2(client string, command byte) string {
	from := netip.MustParseAddr(client)
	body := append(from.AsSlice(), from.AsSlice()...)
	body = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(body, 4711), 6001)
	family := byte(0x11)
	if from.Is6() {
		family = 0x21
	}
	head := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(body))), body...))
}

const askHealth = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"

func (l *line) healthy(what string) {
	l.t.Helper()
	l.say(askHealth)
	if resp, text := l.answer(); resp.StatusCode != http.StatusOK {
		l.t.Errorf("%s: got %d %s", what, resp.StatusCode, text)
	}
}

// TestTrust12LimitsAreForClientsAndNotForProxies opens connections that send nothing for a moment, as many
// clients behind one load balancer do.
func TestTrust12LimitsAreForClientsAndNotForProxies(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]func(string) string{
		"v1": v1, "v2": func(c string) string { return v2(c, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			r, limited := behindProxies(t, nil)
			// A proxy connection that has sent nothing yet is not a client.
			var silent []*line
			for range 20 {
				silent = append(silent, r.from(theProxy, ""))
			}
			for _, l := range silent {
				l.healthy("a connection of the proxy")
			}
			for _, client := range []string{"203.0.113.7", "203.0.113.8", "2001:db8:0:1::7", "2001:db8:0:2::7"} {
				for range 3 {
					silent = append(silent, r.from(theProxy, header(client)))
				}
			}
			if got := limited("handshakes"); got != 0 {
				t.Errorf("%v connections were refused", got)
			}
			// One more connection of each is too many, and so is one of the same network.
			for i, client := range []string{"203.0.113.7", "203.0.113.8", "2001:db8:0:1::8"} {
				until(t, "the address "+client+" has no room", func() bool {
					l := r.from(theProxy, header(client))
					_ = l.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					resp, err := http.ReadResponse(l.in, nil)
					return err == nil && resp.StatusCode == http.StatusServiceUnavailable
				})
				if got := limited("handshakes"); got < float64(i+1) {
					t.Errorf("%v refusals were counted, want %d", got, i+1)
				}
			}
			r.from(theProxy, header("203.0.113.9")).healthy("another client")
			r.from(theProxy, "").healthy("the proxy itself")
			// A closed connection makes room.
			for _, l := range silent {
				_ = l.conn.Close()
			}
			until(t, "there is room again", func() bool {
				l := r.from(theProxy, header("203.0.113.7")+askHealth)
				resp, err := http.ReadResponse(l.in, nil)
				return err == nil && resp.StatusCode == http.StatusOK
			})
		})
	}
}

// TestTrust12WhatAConnectionMayBeginWith: the answer to a PROXY header, by policy and by sender.
func TestTrust12WhatAConnectionMayBeginWith(t *testing.T) {
	t.Parallel()
	const good, bad = http.StatusOK, http.StatusBadRequest
	for policy, cases := range map[gateway.ProxyProtocol][]struct {
		name, from, text string
		status           int // 0 if the connection is closed without an answer
	}{
		gateway.ProxyOptional: {
			{"a proxy with v1", theProxy, v1("203.0.113.7"), good},
			{"a proxy with v2", theProxy, v2("203.0.113.7", 1), good},
			{"a proxy that speaks for itself", theProxy, v2("203.0.113.7", 0), good},
			{"a proxy that does not know", theProxy, "PROXY UNKNOWN\r\n", good},
			{"a proxy without a header", theProxy, "", good},
			{"a header that is none", theProxy, "PROXY TCP4 nobody 192.0.2.1 1 2\r\n", bad},
			{"a header of another family", theProxy, "PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n", bad},
			{"a header without an end", theProxy, "PROXY TCP4 " + strings.Repeat("1", 200), bad},
			{"a stranger with v1", aStranger, v1("203.0.113.7"), bad},
			{"a stranger with v2", aStranger, v2("203.0.113.7", 1), bad},
			{"a stranger without", aStranger, "", good},
		},
		gateway.ProxyRequired: {
			{"a proxy with v1", theProxy, v1("203.0.113.7"), good},
			{"a proxy that speaks for itself", theProxy, v2("203.0.113.7", 0), good},
			{"a proxy without a header", theProxy, "", 0},
			{"a stranger without", aStranger, "", good},
			{"a stranger with v1", aStranger, v1("203.0.113.7"), bad},
		},
		gateway.ProxyOff: {
			{"a proxy with v1", theProxy, v1("203.0.113.7"), bad},
			{"a proxy with v2", theProxy, v2("203.0.113.7", 1), bad},
			{"a proxy without a header", theProxy, "", good},
		},
	} {
		r, limited := behindProxies(t, func(o *gateway.Options) { o.ProxyProtocol, o.MaxHandshakes = policy, -1 })
		untaken := 0
		for _, c := range cases {
			if c.status == 0 || c.status == bad && (c.from == aStranger || policy == gateway.ProxyOff) {
				untaken++
			}
			l := r.from(c.from, c.text+askHealth)
			resp, err := http.ReadResponse(l.in, nil)
			switch {
			case err != nil && (c.status == good || strings.Contains(err.Error(), "timeout")):
				t.Errorf("policy %d, %s: %v", policy, c.name, err)
			case err == nil && resp.StatusCode != c.status:
				t.Errorf("policy %d, %s: got %d, want %d", policy, c.name, resp.StatusCode, c.status)
			}
		}
		// Nothing else tells the operator why connections are refused.
		if got := limited("proxy_protocol"); got != float64(untaken) {
			t.Errorf("policy %d: %v refusals were counted, want %d", policy, got, untaken)
		}
	}
}

// TestTrust12AForwardedRequestIsNotOfThisMachine: only a request of this machine itself is accepted without a
// signature, whatever address a forwarded one claims.
func TestTrust12AForwardedRequestIsNotOfThisMachine(t *testing.T) {
	t.Parallel()
	r, _ := behindProxies(t, nil)
	for _, c := range []struct {
		name, from, begin, header string
		status                    int
	}{
		{"of this machine", "127.0.0.1", "", "", http.StatusOK},
		{"of the proxy itself", theProxy, "", "", http.StatusOK},
		{"through the proxy", theProxy, v1("203.0.113.7"), "", http.StatusUnauthorized},
		{"through the proxy for this machine", theProxy, v1("127.0.0.1"), "", http.StatusUnauthorized},
		{"through the proxy for this machine with v2", theProxy, v2("127.0.0.1", 1), "", http.StatusUnauthorized},
		{"with a header for this machine", theProxy, "", "X-Forwarded-For: 127.0.0.1\r\n", http.StatusUnauthorized},
		{"with a header of RFC 7239 for this machine", theProxy, "", "Forwarded: for=127.0.0.1\r\n", http.StatusUnauthorized},
		{"with a header of a stranger", aStranger, "", "X-Forwarded-For: 127.0.0.1\r\n", http.StatusUnauthorized},
		{"with the name of another", theProxy, "", "Via: 1.1 proxy\r\n", http.StatusUnauthorized},
	} {
		l := r.from(c.from, c.begin+"GET /apps/app/channels/c/history HTTP/1.1\r\nHost: localhost\r\n"+c.header+"\r\n")
		if resp, text := l.answer(); resp.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, resp.StatusCode, text, c.status)
		}
	}
}

// TestTrust12WebSocketsWorkBehindAProxy: events, including large ones, reach sockets whose connection began
// with a PROXY header or whose request has a forwarding header.
func TestTrust12WebSocketsWorkBehindAProxy(t *testing.T) {
	t.Parallel()
	var storing func(string)
	r, _ := behindProxies(t, func(o *gateway.Options) {
		log := o.Log
		storing = func(data string) { store(t, log, data) }
	})
	const upgrade = " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	subscribe := `{"event":"pusher:subscribe","data":{"channel":"c"}}`
	var all []*line
	for _, c := range []struct{ begin, header string }{
		{v1("203.0.113.7"), ""}, {v2("2001:db8::7", 1), ""}, {"", "X-Forwarded-For: 203.0.113.8\r\n"}, {"", ""},
	} {
		l := r.from(theProxy, c.begin+"GET /app/app-key?protocol=7"+upgrade+c.header+"\r\n"+
			string([]byte{0x81, 0x80 | byte(len(subscribe)), 0, 0, 0, 0})+subscribe)
		resp, err := http.ReadResponse(l.in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the handshake failed: %v", err)
		}
		for _, want := range []string{"connection_established", "subscription_succeeded"} {
			if said := l.frame(); !strings.Contains(said, want) {
				t.Fatalf("it said %s, want %s", said, want)
			}
		}
		all = append(all, l)
	}
	for i := range 50 {
		data := fmt.Sprint(i, strings.Repeat("x", 9000))
		storing(data)
		for _, l := range all {
			if said := l.frame(); !strings.Contains(said, data) {
				t.Fatalf("it said %.100s, want event %d", said, i)
			}
		}
	}
	for _, l := range all {
		l.say(string([]byte{0x88, 0x80, 0, 0, 0, 0}))
		if _, err := io.Copy(io.Discard, l.in); err != nil {
			t.Errorf("the connection did not end in order: %v", err)
		}
	}
}

// TestRun01PlainHTTPBehindAProxy: a proxy in front of both ports sends PROXY headers to both, and the one for plain
// HTTP answered them with 400.
func TestRun01PlainHTTPBehindAProxy(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs more than one loopback address")
	}
	for policy, want := range map[gateway.ProxyProtocol]map[string]int{
		gateway.ProxyOptional: {v1("203.0.113.7"): 308, v2("203.0.113.7", 1): 308, "": 308},
		gateway.ProxyRequired: {v1("203.0.113.7"): 308, "": 0},
		gateway.ProxyOff:      {v1("203.0.113.7"): 400, "": 308},
	} {
		s := runSecured(t, func(o *gateway.Options) {
			o.PlainListen, o.ProxyProtocol = "127.0.0.1:0", policy
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(theProxy + "/32")}
		})
		for header, status := range want {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(theProxy)}}
			conn, err := d.Dial("tcp", s.PlainAddr())
			if err != nil {
				t.Fatal(err)
			}
			l := newLine(t, conn)
			l.say(header + "GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: close\r\n\r\n")
			got := 0
			if resp, err := http.ReadResponse(l.in, nil); err == nil {
				got = resp.StatusCode
			}
			if got != status {
				t.Errorf("policy %d, %q: got %d, want %d", policy, header, got, status)
			}
		}
	}
}
