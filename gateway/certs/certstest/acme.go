package certstest

import (
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// ACME is an authority on this machine that issues certificates by ACME. All names lead to the
// loopback address for it.
type ACME struct {
	// Directory is its address, and CAFile whom to trust for it.
	Directory, CAFile string
	ca                *ca.CAImpl
}

// NewACME starts one that looks for challenges at these ports. Its goroutines outlive the test.
func NewACME(t testing.TB, httpPort, tlsPort int) *ACME {
	t.Helper()
	// By default it waits and makes mistakes, so that clients learn to live with that.
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	a := &ACME{ca: ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "the only one"}})}
	checks := va.New(quiet, httpPort, tlsPort, false, names(t), store)
	front := wfe.New(quiet, store, checks, a.ca, []string{"authority.test"}, false, false, 0, 0)
	server := httptest.NewUnstartedServer(front.Handler())
	issuer := New(t)
	server.TLS = issuer.TLS()
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	a.Directory = server.URL + wfe.DirectoryPath
	a.CAFile = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(a.CAFile, issuer.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// Root is the certificate in PEM at the end of those that it issues.
func (a *ACME) Root() []byte { return a.ca.GetRootCert(0).PEM() }

// names is the address of a name server for which every name is this machine.
func names(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, one := range q.Question {
			if one.Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: one.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
			}
		}
		_ = w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}
