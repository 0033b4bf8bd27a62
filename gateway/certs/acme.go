package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// ACMEOptions configure [ACME].
type ACMEOptions struct {
	// Domains are the names to have certificates for. At least one is required; the first is
	// presented to clients that name none.
	Domains []string
	// Email is where the authority writes to, empty for nowhere.
	Email string
	// Directory is the address of the authority's directory, empty for that of Let's Encrypt.
	Directory string
	// StorageDir keeps the account, the certificates and their keys. Required. Gateways may
	// share it.
	StorageDir string
	// CAFile is a PEM file with the certificates to trust when talking to the authority, empty
	// for those of the system.
	CAFile string
	// HTTPPort is where challenges over plain HTTP are answered, which must be reached as port
	// 80; 0 for nowhere, when they are answered by TLS alone, which must be reached as 443.
	HTTPPort int
	// MinVersion is the least version of TLS.
	MinVersion uint16
	Logger     *slog.Logger
	Now        func() time.Time
}

// Roots are the certificates in a PEM file that are trusted to issue others. The error begins with the name of the
// setting that names the file.
func Roots(setting, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate", setting, file)
	}
	return roots, nil
}

// ACME has certificates issued, and renewed when a third of their life is left.
type ACME struct {
	opt    ACMEOptions
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer

	mu sync.Mutex
	// failed are domains of which the last attempt has failed, with why.
	failed map[string]string
}

// NewACME prepares it. Run talks to the authority.
func NewACME(opt ACMEOptions) (*ACME, error) {
	if len(opt.Domains) == 0 {
		return nil, errors.New("tls.acme.domains is empty")
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	var roots *x509.CertPool
	if opt.CAFile != "" {
		var err error
		if roots, err = Roots("tls.acme.ca_file", opt.CAFile); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(opt.StorageDir, 0o700); err != nil {
		return nil, fmt.Errorf("tls.acme.storage_dir: %w", err)
	}
	a := &ACME{opt: opt, failed: map[string]string{}}
	log := zap.New(zapCore{opt.Logger.With("of", "certificates")})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil }, Logger: log,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: opt.StorageDir}, Logger: log, OnEvent: a.note, DefaultServerName: opt.Domains[0],
	})
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: opt.Directory, Email: opt.Email, Agreed: true, TrustedRoots: roots,
		DisableHTTPChallenge: opt.HTTPPort == 0, AltHTTPPort: opt.HTTPPort, Logger: log,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

// Config implements gateway.Certificates.
func (a *ACME) Config() *tls.Config {
	return &tls.Config{
		MinVersion: a.opt.MinVersion, GetCertificate: a.config.GetCertificate, NextProtos: []string{"acme-tls/1"},
	}
}

// Run implements gateway.Certificates. The listener must accept while it runs: it answers the
// authority.
func (a *ACME) Run(ctx context.Context, at net.Addr) {
	defer a.cache.Stop()
	// The library looks whether somebody listens already where challenges are to be answered.
	if tcp, is := at.(*net.TCPAddr); is {
		a.issuer.AltTLSALPNPort = tcp.Port
		if !tcp.IP.IsUnspecified() {
			a.issuer.ListenHost = tcp.IP.String()
		}
	}
	if err := a.config.ManageAsync(ctx, a.opt.Domains); err != nil {
		a.opt.Logger.Error("certificates cannot be had", "error", err)
		a.mu.Lock()
		a.failed[a.opt.Domains[0]] = err.Error()
		a.mu.Unlock()
	}
	<-ctx.Done()
}

// note is told by the library what becomes of its attempts.
func (a *ACME) note(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch event {
	case "cert_obtained":
		delete(a.failed, name)
		a.opt.Logger.Info("a certificate was issued", "name", name, "renewed", data["renewal"], "by", data["issuer"])
	case "cert_failed":
		a.failed[name] = fmt.Sprint(data["error"])
		a.opt.Logger.Error("no certificate was issued; it is tried again", "name", name, "renewal", data["renewal"], "error", data["error"])
	}
	return nil
}

// of is the certificate of a domain.
func (a *ACME) of(domain string) *x509.Certificate {
	for _, c := range a.cache.AllMatchingCertificates(domain) {
		if c.Leaf != nil {
			return c.Leaf
		}
	}
	return nil
}

// why says why there is none, or no newer one.
func (a *ACME) why(domain string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if text, ok := a.failed[domain]; ok {
		return text
	}
	return "the authority is being asked"
}

// Problems implements gateway.Certificates.
func (a *ACME) Problems() []string {
	if a.Missing() != "" {
		return nil
	}
	var out []string
	for _, domain := range a.opt.Domains {
		leaf := a.of(domain)
		if leaf == nil {
			out = append(out, fmt.Sprintf("there is no certificate for %s (tls.acme.domains): %s", domain, a.why(domain)))
		} else if problem := ending(leaf.NotBefore, leaf.NotAfter, a.opt.Now()); problem != "" {
			out = append(out, fmt.Sprintf("the certificate for %s (tls.acme.domains) %s: %s", domain, problem, a.why(domain)))
		}
	}
	return out
}

// Missing implements gateway.Certificates.
func (a *ACME) Missing() string {
	if slices.ContainsFunc(a.opt.Domains, func(domain string) bool { return a.of(domain) != nil }) {
		return ""
	}
	return fmt.Sprintf("no client can connect: there is no certificate for %s (tls.acme.domains): %s", a.opt.Domains[0], a.why(a.opt.Domains[0]))
}

// Expires implements gateway.Certificates.
func (a *ACME) Expires() float64 {
	var first float64
	for _, domain := range a.opt.Domains {
		if leaf := a.of(domain); leaf != nil && (first == 0 || float64(leaf.NotAfter.Unix()) < first) {
			first = float64(leaf.NotAfter.Unix())
		}
	}
	return first
}

// Challenge implements gateway.Certificates.
func (a *ACME) Challenge(next http.Handler) http.Handler { return a.issuer.HTTPChallengeHandler(next) }
