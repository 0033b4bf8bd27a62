package gateway

import (
	"net/http"
	"net/netip"
	"testing"
)

var office = proxies{trusted: []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("fd00::/8"),
}}

// TestTrust12TheClientIsTheLastAddressThatIsNoProxy: the client address is read from the headers of proxies.
func TestTrust12TheClientIsTheLastAddressThatIsNoProxy(t *testing.T) {
	const proxy = "10.0.0.1"
	for _, c := range []struct {
		name, peer     string
		xff, forwarded []string
		want           string
		single         bool
	}{
		{"nothing is said", proxy, nil, nil, proxy, false},
		{"a client", proxy, []string{"203.0.113.7"}, nil, "203.0.113.7", true},
		{"a client through two proxies", proxy, []string{"203.0.113.7, 10.9.9.9"}, nil, "203.0.113.7", true},
		{"a client through two proxies in two lines", proxy, []string{"203.0.113.7", "10.9.9.9"}, nil, "203.0.113.7", true},
		{"what a client wrote before", proxy, []string{"1.2.3.4, 203.0.113.7"}, nil, "203.0.113.7", true},
		{"what a client wrote before in a line of its own", proxy, []string{"1.2.3.4", "203.0.113.7"}, nil, "203.0.113.7", true},
		{"a client that plays a proxy", proxy, []string{"1.2.3.4, 10.5.5.5, 203.0.113.7, 10.9.9.9"}, nil, "203.0.113.7", true},
		{"a client inside", proxy, []string{"10.7.7.7, 10.9.9.9"}, nil, "10.7.7.7", false},
		{"somebody who is no proxy", "203.0.113.9", []string{"1.2.3.4"}, []string{"for=1.2.3.4"}, "203.0.113.9", true},
		{"a proxy on IPv6", "fd00::1", []string{"2001:db8::7"}, nil, "2001:db8::7", true},
		{"a proxy as a mapped address", "::ffff:10.0.0.1", []string{"203.0.113.7"}, nil, "203.0.113.7", true},
		{"a mapped client", proxy, []string{"::ffff:203.0.113.7"}, nil, "203.0.113.7", true},
		{"a proxy in between as a mapped address", proxy, []string{"203.0.113.7, ::ffff:10.9.9.9"}, nil, "203.0.113.7", true},
		{"a zone", proxy, []string{"fe80::7%eth0"}, nil, "fe80::7", true},
		{"a port", proxy, []string{"203.0.113.7:4711"}, nil, "203.0.113.7", true},
		{"a port on IPv6", proxy, []string{"[2001:db8::7]:4711"}, nil, "2001:db8::7", true},
		{"brackets", proxy, []string{"[2001:db8::7]"}, nil, "2001:db8::7", true},
		{"spaces", proxy, []string{" 203.0.113.7 \t,\t10.9.9.9 "}, nil, "203.0.113.7", true},
		{"no address", proxy, []string{"203.0.113.7, nobody"}, nil, proxy, false},
		{"no address behind a proxy", proxy, []string{"203.0.113.7, nobody, 10.9.9.9"}, nil, "10.9.9.9", false},
		{"an empty element", proxy, []string{"203.0.113.7,"}, nil, proxy, false},
		{"an empty line", proxy, []string{""}, nil, proxy, false},
		{"a number", proxy, []string{"3405803783"}, nil, proxy, false},
		{"leading zeros", proxy, []string{"203.0.113.007"}, nil, proxy, false},
		{"a port that is none", proxy, []string{"203.0.113.7:x"}, nil, proxy, false},
		{"a port that is too long", proxy, []string{"203.0.113.7:471147"}, nil, proxy, false},
		{"a bracket that stays open", proxy, []string{"[2001:db8::7"}, nil, proxy, false},
		{"IPv4 in brackets", proxy, []string{"[203.0.113.7]"}, nil, proxy, false},

		{"Forwarded", proxy, nil, []string{"for=203.0.113.7"}, "203.0.113.7", true},
		{"Forwarded in capitals and with more", proxy, nil, []string{"proto=https;For=203.0.113.7; by=10.0.0.1"}, "203.0.113.7", true},
		{"Forwarded and a port", proxy, nil, []string{`for="203.0.113.7:4711"`}, "203.0.113.7", true},
		{"Forwarded and a hidden port", proxy, nil, []string{`for="203.0.113.7:_x"`}, "203.0.113.7", true},
		{"Forwarded and IPv6", proxy, nil, []string{`for="[2001:db8::7]:4711"`}, "2001:db8::7", true},
		{"Forwarded and IPv6 without quotes", proxy, nil, []string{`for=[2001:db8::7]`}, "2001:db8::7", true},
		{"Forwarded through two", proxy, nil, []string{"for=1.2.3.4, for=203.0.113.7;host=x", "for=10.9.9.9"}, "203.0.113.7", true},
		{"a quote that the client left open", proxy, nil, []string{`for=", for=203.0.113.7`}, "203.0.113.7", true},
		{"a quote that swallows an element", proxy, nil, []string{`for=203.0.113.7;host="a, for=1.2.3.4;b=c"`}, proxy, false},
		{"a quote in a quote", proxy, nil, []string{`for=203.0.113.7;host="a\",for=1.2.3.4;b=\"c"`}, proxy, false},
		{"unknown", proxy, nil, []string{"for=unknown"}, proxy, false},
		{"hidden", proxy, nil, []string{"for=_secret"}, proxy, false},
		{"no for", proxy, nil, []string{"proto=https"}, proxy, false},
		{"for twice", proxy, nil, []string{"for=1.2.3.4;for=203.0.113.7"}, proxy, false},
		{"no value", proxy, nil, []string{"for="}, proxy, false},
		{"no pair", proxy, nil, []string{"203.0.113.7"}, proxy, false},

		{"both say the same", proxy, []string{"203.0.113.7"}, []string{"for=203.0.113.7"}, "203.0.113.7", true},
		{"both, and one is the client's own", proxy, []string{"203.0.113.7"}, []string{"for=1.2.3.4"}, proxy, true},
	} {
		h := http.Header{}
		for _, line := range c.xff {
			h.Add("X-Forwarded-For", line)
		}
		for _, line := range c.forwarded {
			h.Add("Forwarded", line)
		}
		got, single := office.client(plain(netip.MustParseAddr(c.peer)), h)
		if got != netip.MustParseAddr(c.want) || single != c.single {
			t.Errorf("%s: got %s %v, want %s %v", c.name, got, single, c.want, c.single)
		}
	}
}

func TestTrust12OneHeaderCanBeChosen(t *testing.T) {
	h := http.Header{"X-Forwarded-For": {"203.0.113.7"}, "Forwarded": {"for=198.51.100.7"}}
	for header, want := range map[ProxyHeader]string{XForwardedFor: "203.0.113.7", Forwarded: "198.51.100.7", NoHeader: "10.0.0.1", AnyHeader: "10.0.0.1"} {
		p := proxies{office.trusted, header}
		if got, _ := p.client(netip.MustParseAddr("10.0.0.1"), h); got != netip.MustParseAddr(want) {
			t.Errorf("header %d: got %s, want %s", header, got, want)
		}
	}
}

// TestTrust12RequestsHaveTheAddressOfTheirClient: limits and logs use the address of the client. The
// handshakes of a client in progress at a time are bounded, also through a proxy.
func TestTrust12RequestsHaveTheAddressOfTheirClient(t *testing.T) {
	refused := 0
	n := &Node{proxies: office}
	n.shakes = newHandshakes(2, &n.proxies, func(netip.Addr) { refused++ }, func() {})
	arrive := func(peer, xff string) (string, func(), bool) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"Upgrade": {"websocket"}}}
		if xff != "" {
			r.Header.Set("X-Forwarded-For", xff)
		}
		out, shake := n.arrive(r)
		end, ok := shake()
		if r.RemoteAddr != peer {
			t.Errorf("the request of the server was changed to %s", r.RemoteAddr)
		}
		return out.RemoteAddr, end, ok
	}
	for _, c := range []struct{ peer, xff, want string }{
		{"10.0.0.1:80", "203.0.113.7", "203.0.113.7:0"}, {"10.0.0.1:80", "2001:db8::7", "[2001:db8::7]:0"},
		{"10.0.0.1:80", "", "10.0.0.1:80"}, {"198.51.100.9:80", "203.0.113.7", "198.51.100.9:80"}, {"@", "203.0.113.7", "@"},
	} {
		got, end, ok := arrive(c.peer, c.xff)
		if got != c.want || !ok {
			t.Errorf("%s for %s: got %s %v, want %s", c.peer, c.xff, got, ok, c.want)
		}
		end()
	}
	_, first, _ := arrive("10.0.0.1:80", "2001:db8::1")
	_, _, _ = arrive("10.0.0.2:80", "2001:db8::2")
	if _, _, ok := arrive("10.0.0.1:80", "2001:db8::3"); ok || refused != 1 {
		t.Errorf("a third handshake of a network got %v, %d refusals", ok, refused)
	}
	for range 5 {
		if _, _, ok := arrive("10.0.0.1:80", ""); !ok {
			t.Error("the proxy was taken for one client")
		}
	}
	if _, _, ok := arrive("10.0.0.1:80", "203.0.113.7"); !ok {
		t.Error("another client was refused")
	}
	first()
	if _, _, ok := arrive("10.0.0.1:80", "2001:db8::3"); !ok {
		t.Error("what has ended makes no room")
	}
}

// FuzzTrust12Forwarded: whatever a client writes, the client is the address that the proxy appends. Headers
// of a sender that is no proxy do not count.
func FuzzTrust12Forwarded(f *testing.F) {
	for _, seed := range []string{"", "1.2.3.4", `for="`, `for=1.2.3.4;host="a, for=5.6.7.8"`, "[::1", ",,,", "10.0.0.1, 10.0.0.2", `for="[fd00::1]:_x";by=\"`} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	client := netip.MustParseAddr("203.0.113.7")
	f.Fuzz(func(t *testing.T, said string, oneLine bool) {
		for name, own := range map[string]string{"X-Forwarded-For": "203.0.113.7", "Forwarded": `for="203.0.113.7:4711";proto=https`} {
			h := http.Header{name: {said, own}}
			if oneLine {
				h[name] = []string{said + ", " + own}
			}
			if got, single := office.client(netip.MustParseAddr("10.0.0.1"), h); got != client || !single {
				t.Errorf("%s %q: got %s %v", name, h[name], got, single)
			}
			stranger := netip.MustParseAddr("198.51.100.9")
			if got, single := office.client(stranger, h); got != stranger || !single {
				t.Errorf("%s %q of a stranger: got %s %v", name, h[name], got, single)
			}
			h[name] = []string{said}
			if got, _ := office.client(netip.MustParseAddr("10.0.0.1"), h); !got.IsValid() || got.Is4In6() || got.Zone() != "" {
				t.Errorf("%s %q: got %s", name, said, got)
			}
		}
	})
}
