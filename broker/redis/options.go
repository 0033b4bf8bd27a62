package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/secret"
)

// Secret is a credential that prints itself redacted.
type Secret = secret.Secret

// AppOptions are the retention limits of one app. Zero means the default.
type AppOptions struct {
	ID string
	// MaxMessages per channel, default 1000; -1 means that only MaxAge limits.
	MaxMessages int64
	// MaxAge of messages, at least a second, default 24 h. Expired messages are removed when another one is
	// published to their channel, or all together with the newest one.
	MaxAge time.Duration
}

// Options configure a [Log].
type Options struct {
	// Apps whose events the log stores; there may be none at first.
	Apps []AppOptions
	// URL of the server, redis:// or rediss:// with user, password, number of the
	// database and further servers as `addr` parameters, as rueidis.ParseURL
	// reads it. Required.
	URL Secret
	// URLSource, if set, is called for user and password each time a connection is made.
	URLSource func() (Secret, error)
	// Cluster says that the servers are a Redis Cluster. A server of the other kind is refused at the start.
	Cluster bool
	// CAFile, CertFile and KeyFile are PEM files for TLS, read each time a connection is
	// made.
	CAFile, CertFile, KeyFile string
	// Prefix is put before all keys and channels, default `sluice:`. It has no
	// braces.
	Prefix string
	// Name of the connections, default sluice.
	Name string
	// MaxData is the largest data of an event in bytes, default 64 KiB.
	MaxData int

	// Dial replaces how connections are made, for tests.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// StartTimeout is how long Open waits for the servers, default 10 s.
	StartTimeout time.Duration
	// PublishTimeout bounds one publish with its retries, default 10 s.
	PublishTimeout time.Duration
	// RepairTimeout is how long a repair is retried while the log cannot be reached, default 15 s.
	RepairTimeout time.Duration
	// DedupWindow is how long ids for duplicates are remembered, default two
	// minutes.
	DedupWindow time.Duration
	// FeedShards is the number of goroutines that apply live messages, default 4. FeedQueue is the number of
	// messages that may wait for each, default 16384.
	FeedShards, FeedQueue int
	// FeedBytes is the number of bytes that may wait for each of them, default 64 MiB. Messages that do not
	// fit are read from the log.
	FeedBytes int64
	// Readers bounds the concurrent reads of history, default 8.
	Readers int
	// AuditInterval is how often silent channels are compared with the log, a
	// few at a time, default 10 s.
	AuditInterval time.Duration
	Logger        *slog.Logger
}

func (o *Options) setDefaults() error {
	follow.Default(&o.Prefix, "sluice:")
	follow.Default(&o.Name, "sluice")
	follow.Default(&o.MaxData, 64<<10)
	follow.Default(&o.StartTimeout, 10*time.Second)
	follow.Default(&o.PublishTimeout, 10*time.Second)
	follow.Default(&o.RepairTimeout, 15*time.Second)
	follow.Default(&o.DedupWindow, 2*time.Minute)
	follow.Defaults(&o.FeedShards, &o.FeedQueue, &o.FeedBytes, &o.Readers, &o.AuditInterval, &o.Logger)
	for i := range o.Apps {
		follow.Default(&o.Apps[i].MaxMessages, 1000)
		follow.Default(&o.Apps[i].MaxAge, 24*time.Hour)
	}
	return o.validate()
}

func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range o.Apps {
		if a.MaxMessages < -1 || a.MaxAge < time.Second {
			bad("app %q: history limits must be positive, a second at least, except -1 messages for no limit", a.ID)
		}
	}
	if o.URL == "" {
		bad("redis_url: is needed")
	}
	if strings.ContainsAny(o.Prefix, "{}") || len(o.Prefix) > 100 {
		bad("redis prefix %.40q: must have no braces and up to 100 bytes", o.Prefix)
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("TLS needs both a certificate and a key file")
	}
	return errors.Join(append(errs, broker.CheckLog(o.Apps, func(a AppOptions) string { return a.ID }, o.MaxData))...)
}

// maxRedirections is how often a command follows a slot to another server. A slot that is being moved needs
// two.
const maxRedirections = 5

// client returns the options of a client for a role, which names its connections.
func (o *Options) client(role string) (rueidis.ClientOption, error) {
	c, err := rueidis.ParseURL(string(o.URL))
	if err != nil {
		// The library's error may repeat the address with its password.
		return c, errors.New("redis_url: must be redis://[user:password@]host[:port][/database]")
	}
	if o.Cluster && c.SelectDB != 0 {
		return c, errors.New("redis_url: a cluster has no database but 0")
	}
	if err := o.tls(&c); err != nil {
		return c, err
	}
	c.ClientName = o.Name + "-" + role
	c.DisableCache, c.ForceSingleClient = true, !o.Cluster
	// The start reports why an attempt failed, so two attempts must fit into its time.
	c.Dialer.Timeout = min(o.StartTimeout/2, dialTimeout)
	c.Dialer.KeepAlive = time.Second
	c.ConnWriteTimeout = 5 * time.Second
	c.PipelineMultiplex = -1 // one connection: publishes of one caller stay in order
	c.ReadBufferEachConn, c.WriteBufferEachConn = 64<<10, 64<<10
	// This package repeats what may be repeated, within the caller's time.
	c.DisableRetry = true
	c.ClusterOption.ShardsRefreshInterval = 2 * time.Second
	// Servers that redirect to each other would be asked as fast as they answer.
	c.ClusterOption.MaxMovedRedirections = maxRedirections
	c.DialCtxFn = o.dialer
	if first := c; first.Password != "" || o.URLSource != nil {
		c.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			return o.credentials(first), nil
		}
	}
	return c, nil
}

// CheckFiles returns an error if a file that the options name cannot be used by [Open].
func (o *Options) CheckFiles() error {
	return o.certificates(&tls.Config{MinVersion: tls.VersionTLS12})
}

func (o *Options) tls(c *rueidis.ClientOption) error {
	if o.CAFile == "" && o.CertFile == "" {
		return nil
	}
	if c.TLSConfig == nil {
		c.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// An unusable file is an error at the start.
	return o.certificates(c.TLSConfig)
}
