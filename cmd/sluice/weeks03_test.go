package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// told is a log that is written and read at the same time.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// changed restarts a NATS server with another configuration. A reload would do as well, but has a data race
// in the server.
func changed(t *testing.T, s *server.Server, config string) {
	t.Helper()
	v, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	startNATS(t, config, true, v.Port, filepath.Dir(v.JetStream.Config.StoreDir))
}

// TestWeeks03FilesThatChange: a certificate, a key or a secret in a file may be replaced while a gateway
// runs. Until then, readiness names the cause for each connection and the log counts.
func TestWeeks03FilesThatChange(t *testing.T) {
	t.Parallel()
	_, oneKey, oneSeed := pair(t, nkeys.CreateUser)
	_, twoKey, twoSeed := pair(t, nkeys.CreateUser)
	one, two := newPKI(t), newPKI(t)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	tls := func(server pki, more string) string {
		return fmt.Sprintf("tls {cert_file: %q, key_file: %q%s}", server.serverCert, server.serverKey, more)
	}
	verified := func(clients pki) string { return fmt.Sprintf(", ca_file: %q, verify: true", clients.ca) }
	type files map[string]string
	for _, c := range []struct {
		name, before, after string
		lines               func(dir string) string
		had, has            files
		cause               string
	}{
		{
			"password", "authorization {user: u, password: p1}", "authorization {user: u, password: p2}",
			func(d string) string { return "user: u\n  password_file: " + d + "/secret" },
			files{"secret": "p1\n"}, files{"secret": "p2\n"}, "authorization violation",
		},
		{
			"token", "authorization {token: t1}", "authorization {token: t2}",
			func(d string) string { return "token_file: " + d + "/secret" },
			files{"secret": "t1"}, files{"secret": "t2"}, "authorization violation",
		},
		{
			"nkey", "authorization {users: [{nkey: " + oneKey + "}]}", "authorization {users: [{nkey: " + twoKey + "}]}",
			func(d string) string { return "nkey_file: " + d + "/seed" },
			files{"seed": oneSeed}, files{"seed": twoSeed}, "authorization violation",
		},
		{
			"authority of the server", tls(one, ""), tls(two, ""),
			func(d string) string { return "tls: {ca_file: " + d + "/ca}" },
			files{"ca": read(one.ca)}, files{"ca": read(one.ca) + read(two.ca)}, "certificate signed by unknown authority",
		},
		{
			"certificate of the gateway", tls(one, verified(one)), tls(one, verified(two)),
			func(d string) string {
				return "tls: {ca_file: " + d + "/ca, cert_file: " + d + "/cert, key_file: " + d + "/key}"
			},
			files{"ca": read(one.ca), "cert": read(one.clientCert), "key": read(one.clientKey)},
			files{"cert": read(two.clientCert), "key": read(two.clientKey)}, "tls: ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(all files) {
				for name, text := range all {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			put(c.had)
			s := natsServer(t, c.before)
			said := &told{}
			l, err := streams.Open(t.Context(), streamOptions(configured(t, s.ClientURL(), c.lines(dir)), slog.New(slog.NewTextHandler(said, nil))))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })

			changed(t, s, c.after)
			tries := map[string]bool{}
			await(t, "readiness names the cause three times", func() bool {
				h := l.Health()
				for _, role := range []string{"publish", "feed", "read"} {
					for _, p := range h.Problems {
						if strings.HasPrefix(p, "the "+role+" connection to NATS is ") && strings.Contains(strings.ToLower(p), c.cause) {
							tries[role] = true
						}
					}
				}
				return !h.Ready && len(tries) == 3
			})
			put(c.has)
			await(t, "the gateway is ready again", func() bool { return l.Health().Ready })
			work(t, l)
			if text := said.String(); strings.Count(text, "level=WARN") > 9 {
				t.Errorf("the log says\n%s", text)
			}
		})
	}
}

// TestWeeks02JetStreamThatIsNotThere: a missing JetStream is reported, after the time to wait for it.
func TestWeeks02JetStreamThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := runNATS(t, "", false)
	for line, want := range map[string]string{"replicas: 1": "JetStream of the NATS server", "domain: hub": `the JetStream domain "hub"`} {
		var err error
		begun := time.Now()
		// On a busy machine a second may pass before the server has said so.
		for _, timeout := range []string{"1s", "10s", "1m"} {
			if _, err = open(t, configured(t, s.ClientURL(), line, "start_timeout: "+timeout)); err == nil || strings.Contains(err.Error(), want) {
				break
			}
			t.Logf("%s: after %s: %v", line, timeout, err)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nats.start_timeout") {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
		if waited := time.Since(begun); waited < 700*time.Millisecond {
			t.Errorf("%s: it was waited for %v", line, waited)
		}
	}
}

// TestWeeks02LeafNodeThatIsNotConnectedYet: a gateway that starts before its leaf node is connected waits for
// it.
func TestWeeks02LeafNodeThatIsNotConnectedYet(t *testing.T) {
	t.Parallel()
	port := fault.Ports(t, 1)[0]
	leaf := runNATS(t, fmt.Sprintf("leafnodes {reconnect: 1s, remotes: [{url: \"nats://127.0.0.1:%d\"}]}", port), false)
	type opened struct {
		l   *streams.Log
		err error
	}
	config := configured(t, leaf.ClientURL(), "domain: hub", "start_timeout: 1m")
	done := make(chan opened, 1)
	go func() {
		l, err := open(t, config)
		done <- opened{l, err}
	}()
	// The gateway is connected, and its requests fail.
	await(t, "the gateway is connected", func() bool { return leaf.NumClients() >= 3 })
	natsServer(t, fmt.Sprintf("jetstream {domain: hub}\nleafnodes {listen: \"127.0.0.1:%d\"}", port))
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	work(t, o.l)
}
