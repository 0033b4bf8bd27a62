package configs

import (
	"strings"
	"testing"
)

func TestNATSIsChecked(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"url: [nats://n1:4222, 'http://n2:4222']", "nats.url has"},
		{"url: ['nats://']", "nats.url has"},
		{"url: ['nats://u:hidden@n1:port']", "nats.url has"},
		{"url: [nats://n1]\n  domain: a.b", "nats.domain is"},
		{"url: [nats://n1]\n  inbox_prefix: 'gateways.>'", "nats.inbox_prefix is"},
		{"url: [nats://n1]\n  inbox_prefix: ''", "nats.inbox_prefix is"},
		{"url: [nats://n1]\n  user: u", "nats.user and nats.password"},
		{"url: [nats://n1]\n  token: hidden\n  nkey_file: f", "nats.nkey_file and nats.token are given"},
	} {
		file := write(t, "c.yaml", "nats:\n  "+c.lines+"\napps: [{id: a, key: k, secret: s}]\n")
		got := strings.Join(problemsOf(t, Sources{File: file}), "\n")
		if !strings.Contains(got, c.want) || strings.Contains(got, "hidden") {
			t.Errorf("%s: got %s, want something about %q and no secret", c.lines, got, c.want)
		}
	}
	for _, good := range []string{"[n1:4222, n2]", "['tls://n1:4222', 'tls://[::1]:4222']", "nats://u:p@n1:4222", "wss://n1"} {
		load(t, Sources{File: write(t, "c.yaml", "nats: {url: "+good+"}\napps: [{id: a, key: k, secret: s}]\n")})
	}
}
