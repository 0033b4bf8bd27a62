package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/web"
)

// asker is what a browser or another client sends about itself.
type asker struct {
	name, host string
	// header holds further header lines.
	header string
	// friend is welcome everywhere, listed only at an app that lists it.
	friend, listed bool
}

var askers = []asker{
	{name: "curl and SDKs", host: "127.0.0.1:6001", friend: true},
	{name: "by name", host: "localhost:6001", friend: true},
	{name: "by name without a port", host: "LOCALHOST", friend: true},
	{name: "by a full name", host: "localhost.:6001", friend: true},
	{name: "by a name below localhost", host: "app.localhost:6001", friend: true},
	{name: "by another loopback address", host: "127.8.8.8:6001", friend: true},
	{name: "by IPv6", host: "[::1]:6001", friend: true},
	{name: "by IPv6 without a port", host: "[::1]", friend: true},
	{name: "by a mapped address", host: "[::ffff:127.0.0.1]:6001", friend: true},
	{name: "by a configured name", host: "Tunnel.example:443", friend: true},
	{name: "the console page", host: "127.0.0.1:6001", header: "Origin: http://127.0.0.1:6001\r\nSec-Fetch-Site: same-origin\r\n", friend: true},
	{name: "the console page by its address alone", host: "127.0.0.1:6001", header: "Sec-Fetch-Site: same-origin\r\n", friend: true},
	{name: "a page of the developer", host: "127.0.0.1:6001", header: "Origin: http://localhost:3000\r\n", friend: true},
	{name: "a page of the developer with TLS", host: "localhost:6001", header: "Origin: https://127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n", friend: true},
	{name: "a page of the developer by IPv6", host: "localhost:6001", header: "Origin: http://[::1]:5173\r\n", friend: true},
	{name: "an application made of pages", host: "localhost:6001", header: "Origin: capacitor://localhost\r\n", friend: true},
	{name: "a page of a configured name", host: "localhost:6001", header: "Origin: https://tunnel.example\r\n", friend: true},
	{name: "a page that the app lists", host: "localhost:6001", header: "Origin: https://listed.example\r\n", listed: true},

	{name: "another name, as after rebinding", host: "evil.example:6001"},
	{name: "another name with its own page", host: "evil.example:6001", header: "Origin: http://evil.example:6001\r\n"},
	{name: "another name with a page of ours", host: "evil.example:6001", header: "Origin: http://localhost:6001\r\n"},
	{name: "a name that begins like ours", host: "localhost.evil.example:6001"},
	{name: "a name that ends like ours", host: "evillocalhost:6001"},
	{name: "a name that begins like an address", host: "127.0.0.1.evil.example:6001"},
	{name: "an address that is not loopback", host: "192.168.1.7:6001"},
	{name: "any address", host: "0.0.0.0:6001"},
	{name: "a loopback address with a zone", host: "[::1%25lo]:6001"},
	{name: "a configured name in a longer one", host: "tunnel.example.evil.example"},
	{name: "the page of another site", host: "127.0.0.1:6001", header: "Origin: https://evil.example\r\n"},
	{name: "a page of another machine", host: "127.0.0.1:6001", header: "Origin: http://192.168.1.7:6001\r\n"},
	{name: "a page that begins like ours", host: "127.0.0.1:6001", header: "Origin: http://localhost.evil.example\r\n"},
	{name: "a page with our name for its user", host: "127.0.0.1:6001", header: "Origin: http://localhost@evil.example\r\n"},
	{name: "a page with our name for its user and us behind it", host: "127.0.0.1:6001", header: "Origin: http://evil.example@localhost\r\n"},
	{name: "no page in particular", host: "127.0.0.1:6001", header: "Origin: null\r\n"},
	{name: "a file", host: "127.0.0.1:6001", header: "Origin: file://\r\n"},
	{name: "an extension", host: "127.0.0.1:6001", header: "Origin: chrome-extension://abcdefghijklmnop\r\n"},
	{name: "no origin at all", host: "127.0.0.1:6001", header: "Origin: \r\n"},
	{name: "two pages", host: "127.0.0.1:6001", header: "Origin: http://localhost:3000\r\nOrigin: https://evil.example\r\n"},
	{name: "an image on another page", host: "127.0.0.1:6001", header: "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"},
}

// TestTrust14PagesOfOtherSitesUseNothing: a page of another site may make a developer's browser send any
// request. A development server refuses all of them, although the page knows the published secret and may
// have a name that resolves to this machine.
func TestTrust14PagesOfOtherSitesUseNothing(t *testing.T) {
	t.Parallel()
	r, _ := runApps(t, func(o *gateway.Options) {
		o.Unsigned, o.Local, o.Hosts = true, true, []string{"tunnel.example"}
		o.Page = web.Handler(web.Options{AppID: "app", AppKey: "app-key"})
		listing := &app.App{ID: "app", Key: "app-key", Secret: "app-secret", Enabled: true, HistoryEnabled: true, Limits: app.DefaultLimits}
		other := *listing
		other.ID, other.Key, other.Secret, other.Origins = "other", "other-key", "other-secret", []string{"https://listed.example", "localhost"}
		o.Apps = app.NewRegistry(listing, &other)
	})
	doors := []struct {
		name, address, appID, request, rest string
		socket, page                        bool
	}{
		{name: "a signed publish", address: r.Addr(), appID: "app", request: "POST " + signed("app", "POST", "/events", withSum(sumOf(greeting))),
			rest: fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(greeting), greeting)},
		{name: "signed history", address: r.Addr(), appID: "app", request: "GET " + signed("app", "GET", "/channels/c/history", nil), rest: "\r\n"},
		{name: "signed history of an app with a list", address: r.Addr(), appID: "other", request: "GET " + signed("other", "GET", "/channels/c/history", nil), rest: "\r\n"},
		{name: "a handshake", address: r.Addr(), appID: "app", request: "GET /app/app-key?protocol=7", socket: true},
		{name: "a handshake of V2", address: r.Addr(), appID: "app", request: "GET /app/app-key?protocol=2", socket: true},
		{name: "the console page", address: r.Addr(), request: "GET /", rest: "\r\n", page: true},
		{name: "metrics", address: r.MetricsAddr(), request: "GET /metrics", rest: "\r\n"},
	}
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for _, d := range doors {
		for _, a := range askers {
			if d.appID == "other" && strings.Contains(a.header, "Origin") && !a.listed && a.friend {
				continue // its list decides
			}
			welcome := a.friend || a.listed && d.appID == "other"
			if d.page {
				// A page shows nothing by itself, and a link to it may be anywhere.
				welcome = a.friend || a.listed || a.host == "127.0.0.1:6001"
			}
			t.Run(d.name+", "+a.name, func(t *testing.T) {
				conn, err := net.Dial("tcp", d.address)
				if err != nil {
					t.Fatal(err)
				}
				l := newLine(t, conn)
				head := d.request + " HTTP/1.1\r\nHost: " + a.host + "\r\n" + a.header
				if d.socket {
					l.say(head + upgrade)
					resp, err := http.ReadResponse(l.in, nil)
					if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
						t.Fatalf("the handshake was not completed: %v", err)
					}
					said := l.frame()
					if welcome != strings.Contains(said, "connection_established") {
						t.Errorf("it said %s", said)
					}
					if !welcome && (!strings.Contains(said, "4009") || !strings.Contains(said, "one machine")) {
						t.Errorf("it said %s, want a reason", said)
					}
					return
				}
				l.say(head + "Connection: close\r\n" + d.rest)
				resp, text := l.answer()
				if welcome && resp.StatusCode != http.StatusOK || !welcome && resp.StatusCode != http.StatusForbidden {
					t.Errorf("got %d %.200s", resp.StatusCode, text)
				}
				if !welcome && !strings.Contains(text, "one machine") {
					t.Errorf("it said %s, want a reason", text)
				}
			})
		}
	}
	// Liveness and readiness checks are not restricted.
	for _, path := range []string{"/health", "/ready"} {
		if status, text := r.request(http.MethodGet, "http://"+r.Addr()+path, "", "Host", "balancer.example"); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	// A production server accepts all host names.
	open, _ := runApps(t, nil)
	target := signed("app", "GET", "/channels/c/history", nil)
	if status, text := open.request(http.MethodGet, "http://"+open.Addr()+target, "", "Host", "api.example", "Origin", "https://evil.example"); status != http.StatusOK {
		t.Errorf("in production: %d %s", status, text)
	}
}

// frame reads a short frame from the server.
func (l *line) frame() string {
	l.t.Helper()
	read := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			c, err := l.in.ReadByte()
			if err != nil {
				l.t.Fatalf("no frame came: %v", err)
			}
			b[i] = c
		}
		return b
	}
	head := read(2)
	n := int(head[1] & 0x7f)
	if n == 126 {
		long := read(2)
		n = int(long[0])<<8 | int(long[1])
	}
	return string(read(n))
}

// TestTrust13MetricsAreForWhoHasTheToken: metrics need the token, under any host name.
func TestTrust13MetricsAreForWhoHasTheToken(t *testing.T) {
	t.Parallel()
	r, _ := runApps(t, func(o *gateway.Options) { o.MetricsToken = "t0ken-of-the-metrics" })
	url := "http://" + r.MetricsAddr() + "/metrics"
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"nothing":                {nil, 401},
		"the token":              {[]string{"Authorization", "Bearer t0ken-of-the-metrics"}, 200},
		"the scheme in capitals": {[]string{"Authorization", "BEARER t0ken-of-the-metrics"}, 200},
		"by any name":            {[]string{"Authorization", "Bearer t0ken-of-the-metrics", "Host", "gateway-1:9601"}, 200},
		"an empty token":         {[]string{"Authorization", "Bearer "}, 401},
		"no token":               {[]string{"Authorization", "Bearer"}, 401},
		"another token":          {[]string{"Authorization", "Bearer other"}, 401},
		"its beginning":          {[]string{"Authorization", "Bearer t0ken-of-the-metric"}, 401},
		"more than it":           {[]string{"Authorization", "Bearer t0ken-of-the-metrics0"}, 401},
		"another scheme":         {[]string{"Authorization", "Basic t0ken-of-the-metrics"}, 401},
		"the bare token":         {[]string{"Authorization", "t0ken-of-the-metrics"}, 401},
	} {
		status, text := r.request(http.MethodGet, url, "", c.header...)
		if status != c.status || strings.Contains(text, "sockudo_") != (c.status == 200) || strings.Contains(text, "t0ken") {
			t.Errorf("%s: got %d %.100s, want %d", name, status, text, c.status)
		}
	}
	if status, _ := r.request(http.MethodGet, url+"?token=t0ken-of-the-metrics", ""); status != http.StatusUnauthorized {
		t.Errorf("in the query: got %d", status)
	}
	for _, path := range []string{"/health", "/ready"} {
		for _, address := range []string{r.Addr(), r.MetricsAddr()} {
			if status, text := r.request(http.MethodGet, "http://"+address+path, ""); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	}
}
