package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/certs/certstest"
	"github.com/sluicehq/sluice/test/fault"
)

// served is a server with certificates from an ACME authority.
type served struct {
	*ACME
	log  journal
	addr string
	stop func()
}

// serve listens on tlsPort, and on opt.HTTPPort for plain HTTP if that is not 0.
func serve(t *testing.T, opt ACMEOptions, tlsPort int) *served {
	t.Helper()
	s := &served{}
	opt.MinVersion, opt.Logger = tls.VersionTLS12, s.log.logger()
	a, err := NewACME(opt)
	if err != nil {
		t.Fatal(err)
	}
	s.ACME = a
	raw, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(tlsPort)))
	if err != nil {
		t.Fatal(err)
	}
	s.addr = raw.Addr().String()
	config := a.Config()
	config.NextProtos = append([]string{"http/1.1"}, config.NextProtos...)
	servers := []*http.Server{{Handler: http.NotFoundHandler(), TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}}
	listeners := []net.Listener{tls.NewListener(raw, config)}
	if opt.HTTPPort > 0 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(opt.HTTPPort)))
		if err != nil {
			t.Fatal(err)
		}
		servers, listeners = append(servers, &http.Server{Handler: a.Challenge(http.NotFoundHandler())}), append(listeners, l)
	}
	var running sync.WaitGroup
	for i, server := range servers {
		server.ErrorLog = log.New(io.Discard, "", 0)
		running.Go(func() { _ = server.Serve(listeners[i]) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() { a.Run(ctx, raw.Addr()) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		for _, server := range servers {
			_ = server.Close()
		}
		running.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

func (s *served) handshake(t *testing.T, authority *certstest.ACME, name string) (*x509.Certificate, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Root())
	c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// TestRun01AnAuthorityIssues has certificates issued with both kinds of challenges, and presents the same
// ones after a restart without a new order.
func TestRun01AnAuthorityIssues(t *testing.T) {
	for _, kind := range []string{"tls-alpn-01", "http-01"} {
		t.Run(kind, func(t *testing.T) {
			ports := fault.Ports(t, 2)
			tlsPort, httpPort := ports[0], ports[1]
			opt := ACMEOptions{Domains: []string{"ws.sluice.test", "api.sluice.test"}, Email: "x@sluice.test", StorageDir: t.TempDir()}
			// The port of the other challenge cannot be reached.
			authority := certstest.NewACME(t, 1, tlsPort)
			if kind == "http-01" {
				authority = certstest.NewACME(t, httpPort, 1)
				opt.HTTPPort = httpPort
			}
			opt.Directory, opt.CAFile = authority.Directory, authority.CAFile
			s := serve(t, opt, tlsPort)
			if text := s.Missing(); text != "" && !strings.Contains(text, "tls.acme.domains") {
				t.Errorf("before: %q", text)
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(s.Missing(), s.Problems(), s.log.String())
				}
			})
			eventually(t, "both are issued", func() bool { return s.Missing() == "" && len(s.Problems()) == 0 })
			var serial string
			for _, name := range opt.Domains {
				c, err := s.handshake(t, authority, name)
				if err != nil {
					t.Fatal(err)
				}
				if name == opt.Domains[0] {
					serial = c.SerialNumber.String()
				}
			}
			if s.Expires() < float64(time.Now().Unix()) || !strings.Contains(s.log.String(), "a certificate was issued") {
				t.Errorf("it ends at %v:\n%s", s.Expires(), s.log.String())
			}
			// There is no server name, as when a health check uses the address.
			if c, err := s.handshakeOf(""); err != nil || c.SerialNumber.String() != serial {
				t.Errorf("without a name: %v", err)
			}
			s.stop()
			again := serve(t, opt, tlsPort)
			eventually(t, "both are there again", func() bool { return again.Missing() == "" && len(again.Problems()) == 0 })
			if c, err := again.handshake(t, authority, opt.Domains[0]); err != nil || c.SerialNumber.String() != serial {
				t.Errorf("after a restart: %v, %v", c, err)
			}
			if strings.Contains(again.log.String(), "a certificate was issued") {
				t.Error("it was issued again")
			}
		})
	}
}

func (s *served) handshakeOf(name string) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// TestRun01AnAuthorityThatSaysNo: a refusal is reported, and no handshake waits for the authority.
func TestRun01AnAuthorityThatSaysNo(t *testing.T) {
	authority := certstest.NewACME(t, 1, 1) // it checks a port where nothing listens
	s := serve(t, ACMEOptions{Domains: []string{"ws.sluice.test"}, StorageDir: t.TempDir(), Directory: authority.Directory, CAFile: authority.CAFile}, 0)
	eventually(t, "it is said", func() bool {
		return strings.Contains(s.Missing(), "no client can connect") && strings.Contains(s.Missing(), "ws.sluice.test") && strings.Contains(s.log.String(), "level=ERROR")
	})
	if _, err := s.handshakeOf("ws.sluice.test"); err == nil {
		t.Error("a handshake came through")
	}
	if s.Expires() != 0 || len(s.Problems()) != 0 {
		t.Errorf("%v %v", s.Expires(), s.Problems())
	}
}

func TestRun01WhatCannotWorkIsSaidAtTheStart(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/file"
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := (&journal{}).logger()
	for want, opt := range map[string]ACMEOptions{
		"tls.acme.domains":     {StorageDir: dir},
		"tls.acme.ca_file":     {Domains: []string{"a.test"}, StorageDir: dir, CAFile: file},
		"tls.acme.storage_dir": {Domains: []string{"a.test"}, StorageDir: file + "/x"},
	} {
		opt.Logger = log
		if _, err := NewACME(opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %s", err, want)
		}
	}
}
