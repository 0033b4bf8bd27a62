package configs

import (
	"fmt"
	"strings"
	"testing"
)

// TestTrust13MetricsAreNotForEverybody: metrics show names of channels, so they serve this machine only, or
// need a token.
func TestTrust13MetricsAreNotForEverybody(t *testing.T) {
	const apps = "apps: [{id: a, key: k, secret: s}]\n"
	for name, c := range map[string]struct{ yaml, host, problem string }{
		"by default":                {"host: 0.0.0.0\n", "127.0.0.1", ""},
		"of an address of the host": {"host: 192.0.2.1\n", "127.0.0.1", ""},
		"everywhere":                {"metrics: {host: 0.0.0.0}\n", "", "metrics.token is not set"},
		"everywhere on IPv6":        {"metrics: {host: '::'}\n", "", "metrics.token is not set"},
		"on a name":                 {"metrics: {host: metrics.internal}\n", "", "metrics.token is not set"},
		"everywhere with a token":   {"metrics: {host: 0.0.0.0, token: t0ken}\n", "0.0.0.0", ""},
		"nowhere":                   {"metrics: {host: 0.0.0.0, port: -1}\n", "0.0.0.0", ""},
		"on IPv6 of this machine":   {"metrics: {host: '::1'}\n", "::1", ""},
		"a token with a space":      {"metrics: {host: 0.0.0.0, token: 't0 ken'}\n", "", "metrics.token has characters"},
		"a token with a line break": {"metrics: {host: 0.0.0.0, token: \"t0\\nken\"}\n", "", "metrics.token has characters"},
	} {
		for _, mode := range []string{"production", "development"} {
			yaml := strings.Replace(c.yaml, "host: 192.0.2.1\n", "", 1)
			if mode == "development" {
				yaml = strings.Replace(yaml, "host: 0.0.0.0\n", "", 1)
			}
			s := Sources{File: write(t, "c.yaml", "mode: "+mode+"\n"+apps+yaml)}
			if c.problem != "" {
				if got := problemsOf(t, s); len(got) != 1 || !strings.Contains(got[0], c.problem) || strings.Contains(got[0], "ken") && !strings.Contains(got[0], "token") {
					t.Errorf("%s in %s: got %q, want %q", name, mode, got, c.problem)
				}
				continue
			}
			if got := load(t, s); got.Metrics.Host != c.host {
				t.Errorf("%s in %s: metrics are on %q, want %q", name, mode, got.Metrics.Host, c.host)
			}
		}
	}
	c := load(t, Sources{Environ: []string{"SLUICE_METRICS_TOKEN=t0ken"}})
	if text, err := c.YAML(); err != nil || strings.Contains(string(text), "t0ken") || c.Metrics.Token != "t0ken" {
		t.Errorf("the token is shown or missing: %v\n%s", err, text)
	}
}

func TestTrust14NamesOfThisMachineAreChecked(t *testing.T) {
	c := load(t, Sources{Environ: []string{"SLUICE_ALLOWED_HOSTS=tunnel.example, box,[fd00::1],fd00::2,dev.example."}})
	if got := strings.Join(c.AllowedHosts, " "); got != "tunnel.example box [fd00::1] fd00::2 dev.example." {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"http://x", "x:80", "x/y", "*.example", "a b", "a..b", "[a]", "[127.0.0.1]", "1.2.3"} {
		if got := problemsOf(t, Sources{Environ: []string{"SLUICE_ALLOWED_HOSTS=" + bad}}); len(got) != 1 || !strings.Contains(got[0], "allowed_hosts") {
			t.Errorf("%s: got %q", bad, got)
		}
	}
}

func TestTrust12ProxiesAreNetworks(t *testing.T) {
	c := load(t, Sources{Environ: []string{"SLUICE_TRUSTED_PROXIES=10.1.2.3/8,192.0.2.1, ::ffff:198.51.100.0/120,fd00::/8,::1"}})
	if got := fmt.Sprint(c.TrustedProxies); got != "[10.0.0.0/8 192.0.2.1/32 198.51.100.0/24 fd00::/8 ::1/128]" {
		t.Errorf("got %s", got)
	}
	if c.ProxyHeader != "auto" || c.ProxyProtocol != "optional" {
		t.Errorf("got %q and %q", c.ProxyHeader, c.ProxyProtocol)
	}
	for _, bad := range []string{"0.0.0.0/0", "::/0", "::ffff:0:0/96", "::ffff:0.0.0.0/90", "10.0.0.0/33", "proxy.internal", "10.0.0.1:80", "fe80::1%eth0", "10.0.0"} {
		if got := problemsOf(t, Sources{Environ: []string{"SLUICE_TRUSTED_PROXIES=" + bad}}); len(got) != 1 || !strings.Contains(got[0], "trusted_proxies") {
			t.Errorf("%s: got %q", bad, got)
		}
	}
}
