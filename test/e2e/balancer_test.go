//go:build linux

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// balancer is a running nginx or HAProxy with a sample of configs/samples/proxies.
type balancer struct {
	t *testing.T
	// plain and secure are host:port. secure speaks TLS with a certificate that trust accepts.
	plain, secure string
	trust         *tls.Config
	// admin is HAProxy's admin socket, which reports the state of the gateways.
	admin string
}

// These are the samples in configs/samples/proxies.
const (
	nginxSample   = "nginx.conf"
	haproxySample = "haproxy.cfg"
	tcpSample     = "haproxy-tcp.cfg"
)

// newBalancer runs a sample in front of one gateway or two. It replaces what depends on the installation
// (addresses, ports, the certificate), and then the given pairs of texts.
func newBalancer(t *testing.T, sample string, gateways []string, pairs ...string) *balancer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root(), "configs", "samples", "proxies", sample))
	if err != nil {
		t.Fatal(err)
	}
	dir, ports := t.TempDir(), fault.Ports(t, 2)
	pair, trust := certificate(t, dir)
	b := &balancer{t: t, plain: fmt.Sprint("127.0.0.1:", ports[0]), secure: fmt.Sprint("127.0.0.1:", ports[1]), trust: trust}
	text := string(raw)
	change := func(from, to string) {
		t.Helper()
		if !strings.Contains(text, from) {
			t.Fatalf("%s has no %q", sample, from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	change("10.0.0.11:6001", gateways[0])
	if len(gateways) > 1 {
		change("10.0.0.12:6001", gateways[1])
	} else if sample == nginxSample {
		change("server 10.0.0.12:6001 max_fails=1 fail_timeout=5s;", "")
	} else {
		change("server gateway-2 10.0.0.12:6001", "")
	}
	for i := 0; i < len(pairs); i += 2 {
		change(pairs[i], pairs[i+1])
	}
	if sample == nginxSample {
		change("proxy_connect_timeout 3s", "proxy_connect_timeout 30s")
		change("/etc/nginx/realtime.crt", pair)
		change("/etc/nginx/realtime.key", pair)
		change("listen 443 ssl;", "listen "+b.secure+" ssl; listen "+b.plain+";")
		b.run(dir, nginxMain(dir, text), "nginx", "-p", dir, "-e", "stderr", "-c")
	} else {
		b.admin = filepath.Join(dir, "admin")
		// On a busy machine a healthy gateway may answer later than a proxy waits by default.
		change("timeout connect 3s", "timeout connect 30s\n    timeout check 60s")
		change("bind :443 ssl crt /etc/haproxy/realtime.pem", "bind "+b.plain+"\n    bind "+b.secure+" ssl crt "+pair)
		change("maxconn 50000", "maxconn 500\n    stats socket "+b.admin+" level admin")
		b.run(dir, text, "haproxy", "-db", "-f")
	}
	return b
}

// nginxMain returns a main configuration around conf.d, as a distribution has it, for one process without
// privileges.
func nginxMain(dir, text string) string {
	var temp strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	return fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log stderr;\nevents {worker_connections 512;}\nhttp {\naccess_log off;\n%s%s}\n",
		filepath.Join(dir, "pid"), &temp, text)
}

// run starts a program, which gets the path of its configuration as last argument. It runs until the test
// ends.
func (b *balancer) run(dir, text, program string, args ...string) {
	b.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		// Debian installs it in a directory that is not in every user's PATH.
		if path, err = exec.LookPath("/usr/sbin/" + program); err != nil {
			b.t.Fatalf("%s is not installed; scripts/test does that: %v", program, err)
		}
	}
	file := filepath.Join(dir, "proxy.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	cmd, said := exec.Command(path, append(args, file)...), &transcript{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			said.add(in.Text())
		}
		_ = cmd.Wait()
	}()
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if b.t.Failed() {
			b.t.Logf("%s said:\n%s", program, tail(said.String(), 3000))
		}
	})
	eventually(b.t, program+" listens", func() bool {
		select {
		case <-ended:
			b.t.Fatalf("%s ended: %s", program, said)
		default:
		}
		conn, err := net.Dial("tcp", b.secure)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// down reports whether HAProxy no longer sends requests to a gateway.
func (b *balancer) down(gateway string) bool {
	conn, err := net.Dial("unix", b.admin)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "show stat\n")
	text, err := io.ReadAll(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(line, "gateways,"+gateway+",") {
			return strings.Contains(line, ",DOWN,")
		}
	}
	b.t.Fatalf("HAProxy does not know %s: %s", gateway, text)
	return false
}

// certificate writes a file with a key and a certificate for this machine, and returns its path and a client
// configuration that trusts it.
func certificate(t *testing.T, dir string) (string, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	file := filepath.Join(dir, "pair.pem")
	if err := os.WriteFile(file, append(cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return file, &tls.Config{RootCAs: pool}
}
