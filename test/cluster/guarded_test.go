package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/natsd"
)

// guardedNATS has three servers with TLS, passwords, and limits that are reloaded. They are separate
// processes, because a reload has data races inside the NATS server.
type guardedNATS struct {
	t       *testing.T
	dir     string
	names   int
	in      limits // in force
	ports   []int  // ports for clients, then for routes
	servers []*natsChild
	// password and authorities are the gateways' files.
	password, authorities string
}

// limits holds settings that an operator gives to NATS servers.
type limits struct {
	payload     int32
	connections int
	// account holds limits of the account, jetStream those of its streams.
	account, jetStream string
	// gateways may not publish to the denied subjects, nor subscribe to the unheard ones.
	denied, unheard  string
	password         string
	certificate, key string
	authority        string
}

// usual returns the limits under which everything works.
func (g *guardedNATS) usual() limits {
	in := g.in
	in.payload, in.connections, in.account, in.jetStream, in.denied, in.unheard = 1<<20, 1000, "", "enabled", "", ""
	return in
}

func startGuardedNATS(t *testing.T) *guardedNATS {
	t.Helper()
	g := &guardedNATS{t: t, dir: t.TempDir(), ports: fault.Ports(t, 6)}
	g.password, g.authorities = filepath.Join(g.dir, "password"), filepath.Join(g.dir, "authorities.pem")
	g.in.password = "first"
	g.write(g.password, g.in.password)
	g.in.authority, g.in.certificate, g.in.key = g.issue()
	g.write(g.authorities, g.in.authority)
	g.in = g.usual()
	for i := range 3 {
		g.configure(i, g.in)
		c := &natsChild{t: t, set: natsd.Settings{Name: fmt.Sprint("n", i), Port: g.ports[i], Config: g.file(i)}}
		c.run()
		t.Cleanup(c.kill)
		g.servers = append(g.servers, c)
	}
	js, err := jetstream.New(g.operator())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the NATS cluster takes three copies", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "first", Replicas: 3})
		return err == nil && js.DeleteStream(ctx, "first") == nil
	})
	return g
}

func (g *guardedNATS) file(i int) string { return filepath.Join(g.dir, fmt.Sprint("n", i, ".conf")) }

func (g *guardedNATS) write(file, text string) {
	g.t.Helper()
	// The rename makes a reader see either the old file or the new one.
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		g.t.Fatal(err)
	}
}

// issue creates an authority and a certificate for the servers. It returns the authority and the files of the
// certificate.
func (g *guardedNATS) issue() (authority, certificate, key string) {
	g.t.Helper()
	g.names++
	sign := func(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, string, string) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			g.t.Fatal(err)
		}
		if by == nil {
			by = own
		}
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &own.PublicKey, by)
		if err != nil {
			g.t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			g.t.Fatal(err)
		}
		return own, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	}
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: fmt.Sprint("authority ", g.names)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	by, authority, _ := sign(ca, ca, nil)
	_, cert, secret := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, ca, by)
	certificate, key = filepath.Join(g.dir, fmt.Sprint("server-", g.names, ".pem")), filepath.Join(g.dir, fmt.Sprint("server-", g.names, ".key"))
	g.write(certificate, cert)
	g.write(key, secret)
	return authority, certificate, key
}

// configure writes limits into the file of a server.
func (g *guardedNATS) configure(i int, in limits) {
	g.t.Helper()
	list := func(subjects string) string {
		if subjects == "" {
			return ""
		}
		return fmt.Sprintf(", deny: [%q]", subjects)
	}
	var routes []string
	for _, port := range g.ports[3:] {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	g.write(g.file(i), fmt.Sprintf(`server_name: n%d
listen: "127.0.0.1:%d"
server_tags: ["at:%d"]
cluster { name: test, listen: "127.0.0.1:%d", routes: [%s] }
jetstream { store_dir: %q, max_mem: 64MB, max_file: 4GB }
tls { cert_file: %q, key_file: %q, timeout: 5 }
max_payload: %d
max_connections: %d
accounts { A {
	jetstream: %s
	limits { %s }
	users: [
		{user: gateway, password: %q, permissions: {publish: {allow: ">"%s}, subscribe: {allow: ">"%s}}}
		{user: operator, password: operator}
	]
} }
`, i, g.ports[i], i, g.ports[3+i], strings.Join(routes, ", "), filepath.Join(g.dir, fmt.Sprint("n", i)), in.certificate, in.key,
		in.payload, in.connections, in.jetStream, in.account, in.password, list(in.denied), list(in.unheard)))
}

// reload gives servers other limits.
func (g *guardedNATS) reload(in limits, servers ...int) error {
	g.in = in
	for _, i := range servers {
		g.configure(i, in)
		if err := g.servers[i].Signal(syscall.SIGHUP); err != nil {
			return err
		}
	}
	return nil
}

func (g *guardedNATS) urls() []string { return urlsOf(g.servers) }

// optionsOf sets the options of a gateway's log for these servers.
func (g *guardedNATS) optionsOf(o *streams.Options) {
	o.URLs, o.User, o.CAFile = g.urls(), "gateway", g.authorities
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	o.PasswordSource = func() (streams.Secret, error) {
		text, err := os.ReadFile(g.password)
		return streams.Secret(text), err
	}
}

// operator returns a connection with an administrator's account, which trusts any certificate.
func (g *guardedNATS) operator() *nats.Conn {
	g.t.Helper()
	nc, err := nats.Connect(strings.Join(g.urls(), ","), nats.UserInfo("operator", "operator"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(20*time.Millisecond),
		nats.Secure(insecure()), nats.IgnoreAuthErrorAbort())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	return nc
}
