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
	"github.com/nats-io/nkeys"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/secret"
)

// dialTimeout bounds the attempt to reach one server. A silent server must leave time for the others before the start-up
// deadline.
const dialTimeout = 2 * time.Second

// publishBuffer is the size of the write buffer of the publish connection. Usually a goroutine of the library flushes it; a
// publisher that fills it must flush it itself.
const publishBuffer = 256 << 10

// CheckFiles returns an error if a file that the options name cannot be used, as [Open] would.
func (o *Options) CheckFiles() error {
	_, err := o.connectOptions()
	return err
}

// connectOptions returns the options of all connections. A file that cannot be used is an error here, because a retry would
// not help.
func (o *Options) connectOptions() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(min(dialTimeout, o.StartTimeout)),
	}
	if o.CredentialsFile != "" {
		// The library reads the file at each attempt, so it can be replaced at runtime.
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
		password := lastRead(o.PasswordSource, o.Password)
		opts = append(opts, nats.UserInfoHandler(func() (string, string) { return o.User, password() }))
	}
	if o.Token != "" {
		opts = append(opts, nats.TokenHandler(lastRead(o.TokenSource, o.Token)))
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
		// The library reads the file at each attempt as well.
		opts = append(opts, nats.RootCAs(o.CAFile))
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

// lastRead returns a function that returns the present secret of a source. If the source fails, the function returns the
// last one.
func lastRead(source func() (Secret, error), first Secret) func() string {
	var mu sync.Mutex
	last := first
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		if source != nil {
			if s, err := source(); err == nil {
				last = s
			}
		}
		return string(last)
	}
}

// publicKey returns the public key of the present nkey file, empty if none is configured.
func (o *Options) publicKey() (string, error) {
	if o.NKeyFile == "" {
		return "", nil
	}
	seed, err := os.ReadFile(o.NKeyFile)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// connectAll makes three connections. The server answers direct gets in the read loop of the requesting connection, so
// they need one of their own, and a flooded feed must not delay acknowledgements.
func (l *Log) connectAll(ctx context.Context) error {
	l.feed = newLink(l, "feed")
	// Without a connection, a publish must fail at once. A buffered one would time out and could still be stored later.
	l.pub = newLink(l, "publish", nats.ReconnectBufSize(-1), nats.WriteBufferSize(publishBuffer))
	l.read = newLink(l, "read")
	l.js, l.admin = jets{l.pub}, jets{l.read}
	// The three connect in parallel, so that a server that does not answer delays the start only once.
	links := l.links()
	errs := make([]error, len(links))
	var dialing sync.WaitGroup
	for i, k := range links {
		dialing.Go(func() { errs[i] = k.connect(ctx) })
	}
	dialing.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	for _, k := range links {
		l.running.Go(k.run)
	}
	var err error
	if l.send, err = newSender(l.pub, l.feed); err != nil {
		return err
	}
	l.running.Go(func() {
		<-l.ctx.Done()
		l.send.close()
	})
	api := "$JS.API."
	if l.opt.Domain != "" {
		api = "$JS." + l.opt.Domain + ".API."
	}
	l.reader = &reader{
		link: l.read, api: api, timeout: 5 * time.Second, naming: 20 * time.Second,
		slots: broker.NewShare(l.opt.Readers), asking: broker.NewShare(maxAsking),
	}
	return nil
}

func (l *Log) links() []*link {
	var all []*link
	for _, k := range []*link{l.pub, l.feed, l.read} {
		if k != nil {
			all = append(all, k)
		}
	}
	return all
}

func (l *Log) jetStream(c *nats.Conn) (jetstream.JetStream, error) {
	opts := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(4096)}
	if l.opt.Domain != "" {
		return jetstream.NewWithDomain(c, l.opt.Domain, opts...)
	}
	return jetstream.New(c, opts...)
}

// join makes a connection for a link. The files are read anew.
func (l *Log) join(k *link) (*connection, error) {
	opts, err := l.opt.connectOptions()
	if err != nil {
		return nil, err
	}
	w := &connection{}
	if w.nkey, err = l.opt.publicKey(); err != nil {
		return nil, fmt.Errorf("nats.nkey_file: %w", err)
	}
	opts = append([]nats.Option{nats.Name(l.opt.Name + " " + k.role)}, opts...)
	opts = append(append(append(append(opts, k.more...), l.handlers(k)...), l.opt.ConnectOptions...), k.wired)
	if w.conn, err = nats.Connect(strings.Join(l.opt.URLs, ","), opts...); err != nil {
		return nil, err
	}
	w.js, err = l.jetStream(w.conn)
	return w, err
}

// dial tries until the start-up deadline, because a gateway may start before its
// cluster. What trying again would not change ends it.
func (l *Log) dial(ctx context.Context, k *link) (*connection, error) {
	if _, err := l.opt.connectOptions(); err != nil {
		return nil, err
	}
	for {
		w, err := l.join(k)
		if err == nil {
			return w, nil
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

// redact is the text of an error without the secrets of the addresses.
func (l *Log) redact(err error) string {
	text := err.Error()
	for _, u := range l.opt.URLs {
		if parsed, err := url.Parse(u); err == nil && parsed.User != nil {
			text = strings.ReplaceAll(text, parsed.User.String()+"@", "")
		}
	}
	return text
}

func redactURLs(urls []string) string {
	out := make([]string, len(urls))
	for i, u := range urls {
		parsed, err := url.Parse(u)
		switch {
		case err != nil && strings.Contains(u, "@"):
			out[i] = secret.Redacted
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
