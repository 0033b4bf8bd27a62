package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/certs/certstest"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/test/fault"
)

// secured is a server with a certificate of the test's own authority.
type secured struct {
	*server
	authority     *certstest.Authority
	cert, key, ca string
	client        *http.Client
}

// trusting returns a client with this TLS configuration.
func trusting(t *testing.T, config *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func serveSecured(t *testing.T, more ...string) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{authority: certstest.New(t)}
	s.cert, s.key, s.ca = s.authority.Files(dir)
	s.client = trusting(t, s.authority.Client("localhost"))
	s.server = launch(t, dir, config(dir, append(more, fmt.Sprintf("tls: {cert_file: %q, key_file: %q}", s.cert, s.key))...))
	eventually(t, "it serves", func() bool { s.find(); return s.HTTP != "" })
	eventually(t, "it is ready", func() bool { status, _ := s.ask("/ready"); return status == http.StatusOK })
	return s
}

func (s *secured) ask(path string) (int, string) {
	resp, err := s.client.Get("https://" + s.HTTP + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// run runs a `sluice` command in the server's directory and returns its output.
func (s *secured) run(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(tools.sluice, args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Errorf("sluice %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestRun01ABrowserHasEverythingOverTLS: a browser gets the page over HTTP/2, a WebSocket of pusher-js with
// forceTLS beside it, and an EventSource.
func TestRun01ABrowserHasEverythingOverTLS(t *testing.T) {
	t.Parallel()
	s := serveSecured(t)
	_, port, _ := net.SplitHostPort(s.HTTP)
	browser := script(t, "secure.mjs", "https://localhost:"+port, "localhost", port)
	var connected struct {
		Connected           bool
		Hop, Shown, Problem string
	}
	browser.line(&connected)
	if !connected.Connected || connected.Hop != "h2" || connected.Shown == "" {
		t.Fatalf("got %+v", connected)
	}
	s.run("publish", "lobby", `{"a":1}`, "--url", "https://"+s.HTTP, "--ca-file", s.ca)
	var seen struct {
		Got struct {
			Pusher, Source []map[string]int
			States         []string
		}
		Problem string
	}
	browser.line(&seen)
	if len(seen.Got.Pusher) != 1 || len(seen.Got.Source) != 1 || seen.Got.Pusher[0]["a"] != 1 || seen.Got.Source[0]["a"] != 1 {
		t.Errorf("got %+v", seen)
	}
}

// TestRun01CommandsSpeakToAServerWithTLS: commands reach a server with TLS, given its URL and CA file, or the
// configuration file alone.
func TestRun01CommandsSpeakToAServerWithTLS(t *testing.T) {
	t.Parallel()
	port := fault.Ports(t, 1)[0]
	s := serveSecured(t, "allow_sample_secrets: false")
	to := []string{"--url", "https://" + s.HTTP, "--ca-file", s.ca}
	if out := s.run(append([]string{"health", "--timeout", "2m"}, to...)...); !strings.Contains(out, "ready") {
		t.Errorf("health says %s", out)
	}
	if out := s.run(append([]string{"demo", "--count", "1", "--interval", "50ms"}, to...)...); !strings.Contains(out, "published") {
		t.Errorf("demo says %s", out)
	}
	if out := s.run(append([]string{"channels"}, to...)...); out == "" {
		t.Log("no channel is occupied")
	}
	// The configuration file, with the port in it, is enough.
	text, err := os.ReadFile(filepath.Join(s.dir, "sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	again := launch(t, s.dir, strings.Replace(string(text), "port: 0", "port: "+strconv.Itoa(port), 1))
	eventually(t, "it serves", func() bool { again.find(); return again.HTTP != "" })
	s.server = again
	file := filepath.Join(s.dir, "sluice.yaml")
	eventually(t, "it is ready", func() bool { status, _ := s.ask("/ready"); return status == http.StatusOK })
	if out := s.run("health", "--timeout", "2m", "--config", file); !strings.Contains(out, "ready") {
		t.Errorf("health says %s", out)
	}
	s.run("publish", "lobby", "1", "--config", file)
	// A command that speaks plain HTTP is told to use https.
	cmd := exec.Command(tools.sluice, "publish", "lobby", "1", "--url", s.HTTP)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "https://") {
		t.Errorf("a plain request: %v\n%s", err, out)
	}
}

// TestRun01CertificatesAreExchangedWhilePublishing replaces the key pair of a server by renames, by links and
// with SIGHUP, with half a pair in between, while clients connect, publish and listen. Nothing fails, and no
// connection is closed.
func TestRun01CertificatesAreExchangedWhilePublishing(t *testing.T) {
	t.Parallel()
	s := serveSecured(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steady, err := client.Dial(ctx, client.Options{URL: "https://" + s.HTTP, Key: "app-key", TLS: s.authority.Client("localhost"), HandshakeTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer steady.Close()
	if err := steady.Subscribe(ctx, "lobby"); err != nil {
		t.Fatal(err)
	}
	var seen sync.Map
	var handshakes, published atomic.Int64
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for ctx.Err() == nil {
				// Each request has its own connection.
				tr := &http.Transport{TLSClientConfig: s.authority.Client("localhost"), DisableKeepAlives: true}
				resp, err := (&http.Client{Transport: tr, Timeout: patience}).Post("https://"+s.HTTP+"/apps/app-id/events", "application/json",
					strings.NewReader(`{"name":"x","channel":"lobby","data":"1"}`))
				if err != nil {
					t.Errorf("after %d: %v", handshakes.Load(), err)
					return
				}
				_ = resp.Body.Close()
				seen.Store(resp.TLS.PeerCertificates[0].SerialNumber.String(), true)
				handshakes.Add(1)
				if resp.StatusCode == http.StatusOK {
					published.Add(1)
				}
			}
		})
	}
	different := func() (n int) { seen.Range(func(any, any) bool { n++; return true }); return n }
	eventually(t, "the first is seen", func() bool { return different() == 1 })
	for i := range 4 {
		cert, key := s.authority.Pair(24 * time.Hour)
		switch i {
		case 0: // half a pair for a while, which is said
			write(t, s.key, key[:100])
			eventually(t, "the bad pair is named", func() bool {
				_, text := s.ask("/ready")
				return strings.Contains(text, "the earlier certificate is still presented")
			})
			if status, _ := s.ask("/ready"); status != http.StatusOK {
				t.Errorf("a bad pair makes it unready: %d", status)
			}
			write(t, s.key, key)
			write(t, s.cert, cert)
		case 1: // by names
			for path, text := range map[string][]byte{s.cert: cert, s.key: key} {
				write(t, path+".new", text)
				if err := os.Rename(path+".new", path); err != nil {
					t.Fatal(err)
				}
			}
		default: // at once
			write(t, s.key, key)
			write(t, s.cert, cert)
			_ = s.cmd.Process.Signal(syscall.SIGHUP)
		}
		eventually(t, "the next one is seen", func() bool { return different() == i+2 || t.Failed() })
	}
	cancel()
	load.Wait()
	if steady.Err() != nil || published.Load() == 0 {
		t.Errorf("%v; %d handshakes, %d published", steady.Err(), handshakes.Load(), published.Load())
	}
	if status, text := s.ask("/ready"); status != http.StatusOK || strings.Contains(text, "certificate") {
		t.Errorf("at the end: %d %s", status, text)
	}
	t.Logf("%d handshakes, %d published, 5 certificates", handshakes.Load(), published.Load())
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRun01AServerGetsItsCertificate starts the program with only a domain and an ACME authority. It is ready
// once it has its certificate, and `sluice health` sees that.
func TestRun01AServerGetsItsCertificate(t *testing.T) {
	port := fault.Ports(t, 1)[0]
	authority := certstest.NewACME(t, 1, port)
	dir := t.TempDir()
	text := strings.Replace(config(dir), "port: 0", "port: "+strconv.Itoa(port), 1) + fmt.Sprintf(
		"tls: {acme: {domains: [ws.sluice.test], directory_url: %q, ca_file: %q, storage_dir: %q}}\nallowed_hosts: [ws.sluice.test]\n",
		authority.Directory, authority.CAFile, filepath.Join(dir, "acme"))
	s := launch(t, dir, text)
	eventually(t, "it serves", func() bool { s.find(); return s.HTTP != "" })
	eventually(t, "it is healthy", func() bool {
		out, err := exec.Command(tools.sluice, "health", "--timeout", "1m", "--config", filepath.Join(dir, "sluice.yaml")).CombinedOutput()
		return err == nil && strings.Contains(string(out), "ready")
	})
	// Clients that trust the authority accept the certificate by its name.
	pool := certstest.Trust(authority.Root())
	c := trusting(t, &tls.Config{RootCAs: pool, ServerName: "ws.sluice.test", MinVersion: tls.VersionTLS12})
	resp, err := c.Get("https://" + s.HTTP + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestRun01AnOpenServerWarns: a production server that listens on all addresses without TLS and without a
// proxy logs a warning.
func TestRun01AnOpenServerWarns(t *testing.T) {
	t.Parallel()
	for more, warns := range map[string]bool{
		"host: 0.0.0.0": true, "host: 127.0.0.1": false, "host: 0.0.0.0\ntrusted_proxies: [10.0.0.0/8]": false,
	} {
		dir := t.TempDir()
		s := launch(t, dir, fmt.Sprintf("mode: production\nport: 0\nmetrics: {port: -1}\nlog: {format: json}\nadapter: {driver: local}\n"+
			"apps: [{id: a, key: k, secret: some-secret-of-mine}]\n%s\n", more))
		eventually(t, "it serves", func() bool { s.find(); return s.HTTP != "" })
		if got := strings.Contains(s.logs.String(), "connections are not encrypted"); got != warns {
			t.Errorf("%q: warned %v, want %v", more, got, warns)
		}
	}
}
