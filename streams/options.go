package streams

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/secret"
)

// Secret is a credential that prints itself redacted.
type Secret = secret.Secret

// AppOptions say what the log of one app keeps. Zero means the default.
type AppOptions struct {
	ID string
	// Secrets of the app, at least one, the same in the same order for all gateways. With
	// the first one gateways prove what they say of an event, and make ids of events that
	// nobody else can make; what any of them proves is believed. A proof of a secret that
	// is no longer there is not: the event stays, without what was claimed of it.
	Secrets []Secret
	// MaxMessages per channel, default 1000; -1 leaves only age and bytes.
	MaxMessages int64
	// MaxAge of a message, default 24 h.
	MaxAge time.Duration
	// MaxBytes of the whole app, default 1 GiB; -1 is no limit.
	MaxBytes int64
	// Replicas of the app's stream, default those of all.
	Replicas int
}

// Options configure a [Log].
type Options struct {
	// Apps of which the log keeps events; there may be none yet.
	Apps []AppOptions
	// Replicas of each stream, 1 to 5, default 1. On a cluster use 3.
	Replicas int
	// Atomic says which apps store batches as a whole, default [AtomicReplicated]. It must be
	// the same for all gateways.
	Atomic AtomicBatches
	// Queues is the number of queues of work for which the bytes are set aside that they
	// may take, default 0: about 1 GiB for all.
	Queues int
	// Synchronous says that the server, an embedded one, synchronises its disk with
	// every event. It decides about what Health says, nothing else.
	Synchronous bool
	// MaxData is the largest data of an event in bytes, default 64 KiB. Larger
	// ones are refused, and skipped when they came by a raw publish.
	MaxData int
	// CheckChannel says why a name is no channel of an app, nil if it is one. Raw events
	// under other names are counted. Default: every name may be one.
	CheckChannel func(app, channel string) error
	// Prefix is put before all subjects, stream and bucket names, so that two
	// installations can share a cluster. Default none.
	Prefix string

	// AppsFollow says that [Log.Serve] is called soon, with apps that are not known yet. Until then
	// no stream is said to belong to no app.
	AppsFollow bool
	// URLs of the NATS servers. ConnectOptions may replace them.
	URLs []string
	// Name of the connections, default sluice.
	Name string
	// CredentialsFile, NKeyFile, User with Password, or Token authenticate.
	// The files are read each time a connection is made, and the sources of the password
	// and the token, if there are any, are asked.
	CredentialsFile, NKeyFile, User string
	Password, Token                 Secret
	PasswordSource, TokenSource     func() (Secret, error)
	// CAFile, CertFile and KeyFile are PEM files for TLS; HandshakeFirst begins
	// with the handshake. The files are read each time a connection is made.
	CAFile, CertFile, KeyFile string
	HandshakeFirst            bool
	// Domain is the JetStream domain, default none.
	Domain string
	// InboxPrefix precedes the subjects of answers, default _INBOX. A user that may
	// subscribe to a prefix of its own alone cannot read the answers for others.
	InboxPrefix string
	// ConnectOptions come last and may override everything, for example with an
	// in-process server.
	ConnectOptions []nats.Option

	// Disturb, for tests, stands between the feed and its channels: it may lose, double
	// or delay live messages. It is called by several goroutines.
	Disturb func(m *nats.Msg, deliver func(*nats.Msg))

	// StartTimeout is how long Open waits for the servers, default 10 s.
	StartTimeout time.Duration
	// PublishTimeout bounds one publish with its retries, default 10 s.
	PublishTimeout time.Duration
	// RepairTimeout is how long a gap is tried to be repaired while there is a
	// connection and the log does not answer, default 60 s: longer than it takes to
	// notice that a connection is dead.
	RepairTimeout time.Duration
	// FeedShards is the number of goroutines that apply live messages, default
	// 4; FeedQueue is what waits for each, default 16384 messages.
	FeedShards, FeedQueue int
	// FeedBytes is what waits for each of them in bytes, default 64 MiB. What does not fit is
	// read from the log.
	FeedBytes int64
	// ReadAhead bounds what is kept in memory of what was read for those who page through channels, in bytes,
	// default 64 MiB.
	ReadAhead int64
	// Readers bounds the direct gets under way, default 8.
	Readers int
	// AuditInterval is how often silent channels are compared with the log, a
	// few at a time, default 10 s.
	AuditInterval time.Duration
	// NewEpoch begins a new life of the log, because the machine went down
	// under a server that may have lost its last moments.
	NewEpoch bool
	Logger   *slog.Logger
}

func (o *Options) setDefaults() error {
	follow.Default(&o.Replicas, 1)
	follow.Default(&o.MaxData, 64<<10)
	follow.Default(&o.Name, "sluice")
	follow.Default(&o.StartTimeout, 10*time.Second)
	follow.Default(&o.PublishTimeout, 10*time.Second)
	follow.Default(&o.RepairTimeout, time.Minute)
	follow.Default(&o.ReadAhead, aheadBytes)
	follow.Defaults(&o.FeedShards, &o.FeedQueue, &o.FeedBytes, &o.Readers, &o.AuditInterval, &o.Logger)
	for i := range o.Apps {
		a := &o.Apps[i]
		follow.Default(&a.MaxMessages, 1000)
		follow.Default(&a.MaxAge, 24*time.Hour)
		follow.Default(&a.MaxBytes, 1<<30)
		follow.Default(&a.Replicas, o.Replicas)
	}
	return o.validate()
}

func (o *Options) validate() error {
	errs := []error{broker.CheckLog(o.Apps, func(a AppOptions) string { return a.ID }, o.MaxData)}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range o.Apps {
		if len(a.Secrets) == 0 || slices.Contains(a.Secrets, "") {
			bad("app %q: a secret is needed, and none may be empty", a.ID)
		}
		if a.Replicas < 1 || a.Replicas > 5 {
			bad("app %q: replicas is %d, must be 1 to 5", a.ID, a.Replicas)
		}
		if a.MaxMessages < -1 || a.MaxBytes < -1 || a.MaxAge < 0 {
			bad("app %q: history limits must not be negative, except -1 for none", a.ID)
		}
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		bad("replicas is %d, must be 1 to 5", o.Replicas)
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("TLS needs both a certificate and a key file")
	}
	ways := 0
	for _, given := range []string{o.CredentialsFile, o.NKeyFile, o.User, string(o.Token)} {
		if given != "" {
			ways++
		}
	}
	if ways > 1 {
		bad("more than one of credentials file, nkey file, user and token is given")
	}
	return errors.Join(errs...)
}
