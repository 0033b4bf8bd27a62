package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/rueidis"
)

// dialTimeout bounds one attempt to connect, including the TLS handshake.
const dialTimeout = 5 * time.Second

// dialer makes connections. It reads certificate files for each one, so that they can be replaced while the
// process runs.
func (o *Options) dialer(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	if o.Dial != nil {
		return o.Dial(ctx, addr)
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil || config == nil {
		return c, err
	}
	config = config.Clone()
	if err := o.certificates(config); err != nil {
		_ = c.Close()
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secured := tls.Client(c, config)
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		var record tls.RecordHeaderError
		if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &record) {
			err = fmt.Errorf("no TLS handshake (does redis_url begin with rediss:// for a port without TLS?): %w", err)
		}
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	return secured, nil
}

// certificates loads the certificate files into a configuration.
func (o *Options) certificates(config *tls.Config) error {
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return fmt.Errorf("redis.tls.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("redis.tls.ca_file: %s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return fmt.Errorf("redis.tls.cert_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// credentials returns user and password from URLSource, or else from the options.
func (o *Options) credentials(first rueidis.ClientOption) rueidis.AuthCredentials {
	if o.URLSource != nil {
		if u, err := o.URLSource(); err == nil {
			// Credentials for another server are not sent to this one.
			if now, err := rueidis.ParseURL(string(u)); err == nil && slices.Equal(now.InitAddress, first.InitAddress) {
				first = now
			}
		}
	}
	return rueidis.AuthCredentials{Username: first.Username, Password: first.Password}
}

// greeting returns what a server says on a new connection before any command, empty if it waits. A server
// without room for another connection reports that and hangs up; a client that sends a command at once may
// not see the report.
func (l *Log) greeting(ctx context.Context, addr string) string {
	if l.opt.Dial != nil || l.secure() {
		return ""
	}
	if addr == "" {
		addr = l.addr
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	until, _ := ctx.Deadline()
	_ = c.SetDeadline(until)
	line, _ := bufio.NewReaderSize(c, 512).ReadSlice('\n')
	if len(line) == 0 || line[0] != '-' {
		return ""
	}
	return strings.TrimSpace(string(line[1:]))
}

// refusing is the problem of a server that refuses connections.
const refusing = "connecting"

// greetTimeout bounds the wait for a greeting. A server that has room sends none.
const greetTimeout = 500 * time.Millisecond

// hungUp reports whether a connection ended without an answer.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// askWhy finds out why connections end, if any did: the client library does not tell. Connections for live
// messages ask for themselves, also on a cluster.
func (l *Log) askWhy() {
	said := ""
	if !l.opt.Cluster && l.wasCut() {
		ctx, cancel := context.WithTimeout(l.ctx, greetTimeout)
		said = l.greeting(ctx, "")
		cancel()
	}
	if said == "" {
		l.problem(refusing, nil)
		return
	}
	err := l.at("", greeted(said))
	if !l.hasProblem(refusing) {
		l.opt.Logger.Warn("the Redis server turns connections away", "error", inWords(err))
	}
	l.problem(refusing, err)
}

// wasCut reports whether there is a problem because a connection ended.
func (l *Log) wasCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.problems {
		if p.cut {
			return true
		}
	}
	return false
}
