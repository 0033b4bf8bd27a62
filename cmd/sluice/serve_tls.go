package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/certs"
)

// secure sets the certificates of a node, if any are configured.
func secure(opt *gateway.Options, c *configs.Config) error {
	if !c.TLS.Enabled() {
		return nil
	}
	if c.TLS.HTTPPort >= 0 {
		opt.PlainListen = net.JoinHostPort(strings.Trim(c.Host, "[]"), strconv.Itoa(c.TLS.HTTPPort))
	}
	if c.TLS.CertFile != "" {
		p, err := certs.NewPair(certs.PairOptions{
			CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, MinVersion: c.TLS.MinVersion, Logger: opt.Logger,
		})
		if err != nil {
			return err
		}
		for _, problem := range p.Problems() {
			opt.Logger.Warn(problem)
		}
		opt.TLS = hangup{p}
		return nil
	}
	a := c.TLS.ACME
	issued, err := certs.NewACME(certs.ACMEOptions{
		Domains: a.Domains, Email: a.Email, Directory: a.Directory, StorageDir: a.StorageDir, CAFile: a.CAFile,
		HTTPPort: max(c.TLS.HTTPPort, 0), MinVersion: c.TLS.MinVersion, Logger: opt.Logger,
	})
	if err != nil {
		return err
	}
	opt.TLS = issued
	return nil
}

// hangup is a certificate in files that is also read at each SIGHUP.
type hangup struct{ *certs.Pair }

// Run implements gateway.Certificates.
func (h hangup) Run(ctx context.Context, at net.Addr) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				h.Reload()
			}
		}
	})
	h.Pair.Run(ctx, at)
}

// scheme returns the URL scheme of the server of a configuration.
func scheme(c *configs.Config) string {
	if c.TLS.Enabled() {
		return "https://"
	}
	return "http://"
}

// warnOpen warns if connections are probably not encrypted.
func warnOpen(c *configs.Config, log *slog.Logger) {
	if c.ConsoleIsExposed() {
		log.Warn("the console is plain HTTP on an address that others reach, and its token can be read on the way: set tls.cert_file and tls.key_file, put a proxy with TLS before it, or leave console.host at 127.0.0.1", "host", c.Console.Host)
	}
	if c.Open() {
		log.Warn("connections are not encrypted, and strangers may reach this server: set tls.cert_file and tls.key_file or tls.acme.domains, or name the proxy that does TLS in trusted_proxies", "host", c.Host)
	}
}

// ownTLS returns how a command verifies the server of its own configuration, which it reaches at an address of
// this machine: it must present the configured certificate. nil means the system's certificates.
func ownTLS(c *configs.Config) *tls.Config {
	switch {
	case len(c.TLS.ACME.Domains) > 0:
		return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ACME.Domains[0]}
	case c.TLS.CertFile == "":
		return nil
	}
	text, err := os.ReadFile(c.TLS.CertFile)
	if err != nil {
		return nil // the handshake reports the error
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	out := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if leaf, err := firstCertificate(text); err == nil {
		out.ServerName = nameOn(leaf)
	}
	return out
}

// trusting returns a TLS configuration that trusts the certificates in a file.
func trusting(file string) (*tls.Config, error) {
	roots, err := certs.Roots("--ca-file", file)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// firstCertificate returns the leaf, which is the first certificate of a chain.
func firstCertificate(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("no certificate")
}

// nameOn returns a name of a certificate, empty if it has none.
func nameOn(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return strings.Replace(c.DNSNames[0], "*", "any", 1)
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return ""
}
