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
	// Domains are the names for which certificates are issued. At least one is required; the first one's is
	// presented to clients that name none.
	Domains []string
	// Email is the contact address for the authority, empty for none.
	Email string
	// Directory is the URL of the authority's directory, empty for Let's Encrypt.
	Directory string
	// StorageDir keeps the account, the certificates and their keys. Required. Several gateways may share it.
	StorageDir string
	// CAFile is a PEM file with the certificates to trust when connecting to the authority, empty for those of
	// the system.
	CAFile string
	// HTTPPort is the port for challenges over plain HTTP, which must be reachable as port 80. With 0,
	// challenges are answered by TLS only, which must be reachable as port 443.
	HTTPPort int
	// MinVersion is the minimum version of TLS.
	MinVersion uint16
	Logger     *slog.Logger
	Now        func() time.Time
}

// Roots reads trusted certificates from a PEM file. The error begins with the name of the setting for that file.
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

// ACME has certificates issued by an authority, and renews them when a third of their lifetime is left.
type ACME struct {
	opt    ACMEOptions
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer

	mu sync.Mutex
	// failed has the error of the last attempt by domain, if it failed.
	failed map[string]string
}

// NewACME prepares ACME. Run contacts the authority.
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

// Run implements gateway.Certificates. The listener must accept connections meanwhile, because it answers the
// authority's challenges.
func (a *ACME) Run(ctx context.Context, at net.Addr) {
	defer a.cache.Stop()
	// certmagic checks whether something is listening already at the address for challenges.
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

// note handles events of certmagic about its attempts.
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

// of returns the certificate of a domain, nil if there is none.
func (a *ACME) of(domain string) *x509.Certificate {
	for _, c := range a.cache.AllMatchingCertificates(domain) {
		if c.Leaf != nil {
			return c.Leaf
		}
	}
	return nil
}

// why returns why a domain has no certificate, or no newer one.
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
