package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/streams"
)

// natsServer runs a NATS server with JetStream; config is in the syntax of the server.
func natsServer(t *testing.T, config string) *server.Server { return runNATS(t, config, true) }

func runNATS(t *testing.T, config string, jetStream bool) *server.Server {
	return startNATS(t, config, jetStream, -1, t.TempDir())
}

func startNATS(t *testing.T, config string, jetStream bool, port int, dir string) *server.Server {
	t.Helper()
	opt, err := server.ProcessConfigFile(write(t, "nats.conf", config))
	if err != nil {
		t.Fatal(err)
	}
	opt.Host, opt.Port, opt.JetStream, opt.StoreDir, opt.NoSigs, opt.NoLog = "127.0.0.1", port, jetStream, dir, true, true
	opt.JetStreamMaxMemory, opt.JetStreamMaxStore = 64<<20, 4<<30
	s, err := server.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}
	return s
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configured returns the configuration of a gateway with these lines in the nats section.
func configured(t *testing.T, url string, lines ...string) *configs.Config {
	t.Helper()
	text := "nats:\n  url: [" + url + "]\n"
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	c, err := configs.Load(configs.Sources{File: write(t, "sluice.yaml", text+"apps: [{id: a, key: k, secret: s}]\n")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sink passes on the data of its publications.
type sink struct{ came chan string }

func (s sink) Publication(p *broker.Publication) { s.came <- string(p.Data) }
func (s sink) Gap(broker.Gap)                    {}

// work uses everything that a gateway needs from NATS.
func work(t *testing.T, l *streams.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	table, err := l.OpenTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := l.OpenCounters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := counters.Create(ctx, "a.c", []byte("1")); err != nil {
		t.Error(err)
	}
	if _, err := table.Put(ctx, "seat.a", []byte("1"), time.Minute); err != nil {
		t.Error(err)
	}
	if got, err := table.List(ctx, "seat.>"); err != nil || len(got) != 1 {
		t.Errorf("the table has %v, %v", got, err)
	}
	got := sink{make(chan string, 8)}
	at, err := l.Attach(ctx, "a", "c", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	if _, err := l.Publish(ctx, "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got.came:
	case <-ctx.Done():
		t.Error("nothing came live")
	}
	if page, err := l.Read(ctx, "a", "c", broker.Query{Limit: 10, NewestFirst: true}); err != nil || len(page.Publications) != 1 {
		t.Errorf("the history has %+v, %v", page, err)
	}
	queue, err := l.OpenWork(ctx, "n", table)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := queue.Put(ctx, "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Error(err)
	}
	taking, stop := context.WithCancel(ctx)
	err = queue.Take(taking, "q", 1, func(broker.Taken) { stop() })
	if stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("taking work: %v", err)
	}
	if h := l.Health(); !h.Ready || !strings.Contains(h.Durability, "one NATS server") {
		t.Errorf("health is %+v", h)
	}
}

func open(t *testing.T, c *configs.Config) (*streams.Log, error) {
	l, err := streams.Open(t.Context(), streamOptions(c, slog.New(slog.DiscardHandler)))
	if err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	return l, err
}

// pair creates an nkey.
func pair(t *testing.T, make func() (nkeys.KeyPair, error)) (key nkeys.KeyPair, public, seed string) {
	t.Helper()
	key, err := make()
	if err != nil {
		t.Fatal(err)
	}
	public, err = key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return key, public, string(text)
}

// operator returns the configuration of a server in operator mode, and a credentials file for a user of its
// account.
func operator(t *testing.T) (config, creds string) {
	t.Helper()
	okey, opub, _ := pair(t, nkeys.CreateOperator)
	akey, apub, _ := pair(t, nkeys.CreateAccount)
	_, spub, _ := pair(t, nkeys.CreateAccount)
	_, upub, useed := pair(t, nkeys.CreateUser)
	signed := func(c jwt.Claims, by nkeys.KeyPair) string {
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	account := jwt.NewAccountClaims(apub)
	account.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 4 << 30, MemoryStorage: 1 << 20, Streams: 20, Consumer: 20}
	user := jwt.NewUserClaims(upub)
	text, err := jwt.FormatUserConfig(signed(user, akey), []byte(useed))
	if err != nil {
		t.Fatal(err)
	}
	config = fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {%s: %s, %s: %s}\n",
		signed(jwt.NewOperatorClaims(opub), okey), spub, apub, signed(account, okey), spub, signed(jwt.NewAccountClaims(spub), okey))
	return config, write(t, "gateway.creds", string(text))
}

// silent returns the address of a listener that accepts connections and sends nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "nats://" + l.Addr().String()
}

func TestConnectionsAsConfigured(t *testing.T) {
	t.Parallel()
	_, nkey, seed := pair(t, nkeys.CreateUser)
	trusted := write(t, "nkey", seed)
	operated, creds := operator(t)
	pki := newPKI(t)
	tls := fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true", pki.serverCert, pki.serverKey, pki.ca)
	client := []string{"tls: {ca_file: " + pki.ca + ", cert_file: " + pki.clientCert + ", key_file: " + pki.clientKey + "}"}
	own := `authorization {users: [{user: g, password: p, permissions: {
		publish: ["ch.>", "gw.>", "work.>", "$KV.>", "$JS.API.>", "$JS.ACK.>"]
		subscribe: ["rt.>", "rtgw.>", "rtctr.>", "rtkv.>", "_gateways.>", "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>"]}}]}`
	for _, c := range []struct {
		name, server, before string
		lines                []string
	}{
		{name: "the first server refuses and the second is silent", before: "nats://127.0.0.1:1, " + silent(t) + ", "},
		{name: "credentials file", server: operated, lines: []string{"credentials_file: " + creds}},
		{name: "nkey", server: "authorization {users: [{nkey: " + nkey + "}]}", lines: []string{"nkey_file: " + trusted}},
		{name: "token", server: "authorization {token: t0p}", lines: []string{"token: t0p"}},
		{name: "user", server: "authorization {user: u, password: p}", lines: []string{"user: u", "password: p"}},
		{name: "TLS with a client certificate", server: tls + "}", lines: client},
		{name: "TLS from the first byte", server: tls + ", handshake_first: true}", lines: []string{strings.Replace(client[0], "{", "{handshake_first: true, ", 1)}},
		{name: "domain", server: "jetstream {domain: hub}", lines: []string{"domain: hub"}},
		{name: "prefix", lines: []string{"prefix: staging."}},
		{name: "inbox of its own", server: own, lines: []string{"user: g", "password: p", "inbox_prefix: _gateways"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := natsServer(t, c.server)
			l, err := open(t, configured(t, c.before+s.ClientURL(), c.lines...))
			if err != nil {
				t.Fatal(err)
			}
			work(t, l)
		})
	}
}

// TestDomainBehindALeafNode: a gateway at a leaf node without JetStream uses that of the hub by its domain.
func TestDomainBehindALeafNode(t *testing.T) {
	hub := natsServer(t, "jetstream {domain: hub}\nleafnodes {listen: \"127.0.0.1:-1\"}")
	v, err := hub.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := runNATS(t, fmt.Sprintf("leafnodes {remotes: [{url: \"nats://127.0.0.1:%d\"}]}", v.LeafNode.Port), false)
	l, err := open(t, configured(t, leaf.ClientURL(), "domain: hub"))
	if err != nil {
		t.Fatal(err)
	}
	work(t, l)
}

func TestConnectionsThatCannotBe(t *testing.T) {
	pki := newPKI(t)
	tls := fmt.Sprintf("tls {cert_file: %q, key_file: %q}", pki.serverCert, pki.serverKey)
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct{ name, server, lines, want string }{
		{"wrong password", "authorization {user: u, password: p}", "user: u\n  password: hidden", "Authorization"},
		{"wrong token", "authorization {token: t}", "token: hidden", "Authorization"},
		{"no credentials file", "", "credentials_file: " + missing, "nats.credentials_file"},
		{"no nkey file", "", "nkey_file: " + missing, "nats.nkey_file"},
		{"no seed in the nkey file", "", "nkey_file: " + write(t, "empty", "x"), "nats.nkey_file"},
		{"no CA file", "", "tls: {ca_file: " + missing + "}", "nats.tls.ca_file"},
		{"no certificate in the CA file", "", "tls: {ca_file: " + write(t, "empty", "x") + "}", "nats.tls.ca_file"},
		{"no client certificate", "", "tls: {cert_file: " + missing + ", key_file: " + missing + "}", "nats.tls.cert_file"},
		{"unknown CA", tls, "tls: {ca_file: " + newPKI(t).ca + "}", "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Waiting would not help in these cases.
			config := configured(t, natsServer(t, c.server).ClientURL(), c.lines, "start_timeout: 10m")
			_, err := open(t, config)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v, want something about %q and no secret", err, c.want)
			}
		})
	}
}
