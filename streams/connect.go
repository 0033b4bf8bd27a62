package streams

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// dialTimeout bounds the attempt to reach one server. A server that is silent must
// leave time for the others before the start-up deadline.
const dialTimeout = 2 * time.Second

// connectOptions are those of all connections. Files that cannot be used are an
// error here, because trying again would not help.
func (o *Options) connectOptions() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(min(dialTimeout, o.StartTimeout)),
	}
	if o.CredentialsFile != "" {
		// The library reads it at each attempt, so that it can be replaced.
		if _, err := os.ReadFile(o.CredentialsFile); err != nil {
			return nil, fmt.Errorf("nats.credentials_file: %w", err)
		}
		opts = append(opts, nats.UserCredentials(o.CredentialsFile))
	}
	if o.NKeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey_file: %w", err)
		}
		opts = append(opts, key)
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, string(o.Password)))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(string(o.Token)))
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("nats.tls.ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("nats.tls.ca_file: %s holds no certificate", o.CAFile)
		}
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	if o.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile); err != nil {
			return nil, fmt.Errorf("nats.tls.cert_file and key_file: %w", err)
		}
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	if o.HandshakeFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, nil
}

// connectAll makes three connections: direct gets are answered in the server's
// read loop of the connection that asks, and a flooded feed must not delay
// acknowledgements.
func (l *Log) connectAll(ctx context.Context) error {
	common, err := l.opt.connectOptions()
	if err != nil {
		return err
	}
	roles := []struct {
		role string
		to   **nats.Conn
		more []nats.Option
	}{
		{"feed", &l.feed, nil},
		// What cannot be sent at once must fail at once: buffered publishes
		// would time out and be stored later all the same.
		{"publish", &l.pub, []nats.Option{nats.ReconnectBufSize(-1)}},
		{"read", &l.read, nil},
	}
	// Servers that do not answer are waited for once, not once per connection.
	errs := make([]error, len(roles))
	var dialing sync.WaitGroup
	for i, r := range roles {
		dialing.Go(func() {
			opts := append([]nats.Option{nats.Name(l.opt.Name + " " + r.role)}, common...)
			opts = append(append(append(opts, r.more...), l.handlers(r.role)...), l.opt.ConnectOptions...)
			*r.to, errs[i] = l.dial(ctx, opts)
		})
	}
	dialing.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if l.js, err = l.jetStream(l.pub); err != nil {
		return err
	}
	if l.admin, err = l.jetStream(l.read); err != nil {
		return err
	}
	api := "$JS.API."
	if l.opt.Domain != "" {
		api = "$JS." + l.opt.Domain + ".API."
	}
	l.reader = &reader{
		conn: l.read, api: api, timeout: 5 * time.Second,
		slots: broker.NewShare(l.opt.Readers), asking: broker.NewShare(maxAsking),
	}
	return nil
}

func (l *Log) jetStream(c *nats.Conn) (jetstream.JetStream, error) {
	opts := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(4096)}
	if l.opt.Domain != "" {
		return jetstream.NewWithDomain(c, l.opt.Domain, opts...)
	}
	return jetstream.New(c, opts...)
}

// dial tries until the start-up deadline, because a gateway may start before its
// cluster.
func (l *Log) dial(ctx context.Context, opts []nats.Option) (*nats.Conn, error) {
	for {
		c, err := nats.Connect(strings.Join(l.opt.URLs, ","), opts...)
		if err == nil {
			return c, nil
		}
		var certificate *tls.CertificateVerificationError
		if errors.Is(err, nats.ErrAuthorization) || errors.As(err, &certificate) {
			return nil, fmt.Errorf("connecting to NATS at %s: %w", redactURLs(l.opt.URLs), err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: connecting to NATS at %s: %w", broker.ErrUnavailable, redactURLs(l.opt.URLs), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func redactURLs(urls []string) string {
	out := make([]string, len(urls))
	for i, u := range urls {
		parsed, err := url.Parse(u)
		switch {
		case err != nil && strings.Contains(u, "@"):
			out[i] = Secret("").String()
		case err != nil || parsed.User == nil:
			out[i] = u
		default:
			if _, has := parsed.User.Password(); !has {
				// A user without a password is a token.
				parsed.User = url.User("xxxxx")
			}
			out[i] = parsed.Redacted()
		}
	}
	return strings.Join(out, ", ")
}
