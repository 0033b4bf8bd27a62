package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/watch"
)

// PairOptions configure a [Pair].
type PairOptions struct {
	// CertFile is a PEM file with the certificate and its issuers, and KeyFile one with its key. Both are
	// required.
	CertFile, KeyFile string
	// MinVersion is the minimum version of TLS, such as [tls.VersionTLS12].
	MinVersion uint16
	// Every is the interval for checking whether the files have changed, default one second.
	Every  time.Duration
	Logger *slog.Logger
	Now    func() time.Time
}

// Pair is a certificate in files. Its methods are safe for concurrent use.
type Pair struct {
	opt     PairOptions
	current atomic.Pointer[tls.Certificate]

	mu sync.Mutex
	// problem is why the files were not adopted, empty if they were.
	problem string
	// later is a pair that is not adopted because of its validity period, nil if there is none.
	later *tls.Certificate
}

// NewPair reads the files, which must be usable.
func NewPair(opt PairOptions) (*Pair, error) {
	if opt.Every == 0 {
		opt.Every = time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	p := &Pair{opt: opt}
	c, err := p.read()
	if err != nil {
		return nil, err
	}
	p.current.Store(c)
	return p, nil
}

func (p *Pair) read() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(p.opt.CertFile, p.opt.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
	}
	return &c, nil
}

// Config implements gateway.Certificates.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     p.opt.MinVersion,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}

// Run reads the files again when they change.
func (p *Pair) Run(ctx context.Context, _ net.Addr) {
	tick := time.NewTicker(p.opt.Every)
	defer tick.Stop()
	var files watch.Files
	files.Changed(p.opt.Now(), p.opt.CertFile, p.opt.KeyFile)
	// They may have changed since NewPair read them.
	p.Reload()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if files.Changed(p.opt.Now(), p.opt.CertFile, p.opt.KeyFile) || p.itsTimeHasCome() {
				p.Reload()
			}
		}
	}
}

// Reload reads the files now, and adopts them if they can be used.
func (p *Pair) Reload() {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.read()
	p.later = nil
	if err == nil {
		if err = p.worse(c); err != nil {
			p.later = c
		}
	}
	if err != nil {
		p.problem = fmt.Sprintf("the earlier certificate is still presented, because the files were not taken over: %v", err)
		p.opt.Logger.Error("the certificate was read again and is not usable; the earlier one is still presented", "error", err)
		return
	}
	p.problem = ""
	before := p.current.Swap(c)
	if before.Leaf.Equal(c.Leaf) {
		return
	}
	p.opt.Logger.Info("another certificate is presented from now on", "file", p.opt.CertFile, "names", c.Leaf.DNSNames, "ends", c.Leaf.NotAfter)
}

// worse returns why a pair must not replace the present one: the present certificate is valid at this time, and
// the new one is not.
func (p *Pair) worse(c *tls.Certificate) error {
	now, present := p.opt.Now(), p.current.Load().Leaf
	if valid(present, now) && !valid(c.Leaf, now) {
		return fmt.Errorf("tls.cert_file: the certificate %s", ending(c.Leaf.NotBefore, c.Leaf.NotAfter, now))
	}
	return nil
}

func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// itsTimeHasCome reports whether a pair that was refused because of its validity period may be adopted now.
func (p *Pair) itsTimeHasCome() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.later != nil && p.worse(p.later) == nil
}

// Problems implements gateway.Certificates.
func (p *Pair) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	if p.problem != "" {
		out = append(out, p.problem)
	}
	leaf := p.current.Load().Leaf
	if problem := ending(leaf.NotBefore, leaf.NotAfter, p.opt.Now()); problem != "" {
		out = append(out, "the certificate in tls.cert_file "+problem)
	}
	return out
}

// Missing implements gateway.Certificates.
func (p *Pair) Missing() string { return "" }

// Expires implements gateway.Certificates.
func (p *Pair) Expires() float64 { return float64(p.current.Load().Leaf.NotAfter.Unix()) }

// Challenge implements gateway.Certificates.
func (p *Pair) Challenge(next http.Handler) http.Handler { return next }

// soon is how long before its end a certificate should have been renewed.
const soon = 7 * 24 * time.Hour

// ending returns what is wrong with the validity period of a certificate, empty if nothing is.
func ending(from, until, now time.Time) string {
	switch {
	case now.Before(from):
		return fmt.Sprintf("is not valid before %s", from.UTC().Format(time.RFC3339))
	case !now.Before(until):
		return fmt.Sprintf("has ended at %s", until.UTC().Format(time.RFC3339))
	case until.Sub(now) < min(soon, until.Sub(from)/5):
		return fmt.Sprintf("ends at %s and was not renewed", until.UTC().Format(time.RFC3339))
	}
	return ""
}
