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

// AppOptions configure the log of one app. Zero values mean defaults.
type AppOptions struct {
	ID string
	// Secrets of the app, at least one. All gateways must have the same ones in the same order. The first secret is used
	// for proofs and for deduplication ids that nobody else can derive. Proofs of all listed secrets are accepted. If the
	// secret of a proof is not listed any more, the event stays, without the claims.
	Secrets []Secret
	// MaxMessages per channel, default 1000; -1 means no limit by number.
	MaxMessages int64
	// MaxAge of a message, default 24 h.
	MaxAge time.Duration
	// MaxBytes of the whole app, default 1 GiB; -1 means no limit.
	MaxBytes int64
	// Replicas of the app's stream, default Options.Replicas.
	Replicas int
}

// Options configure a [Log].
type Options struct {
	// Apps whose events the log keeps. There may be none yet.
	Apps []AppOptions
	// Replicas of each stream, 1 to 5, default 1. On a cluster use 3.
	Replicas int
	// Atomic says which apps store batches atomically, default [AtomicReplicated]. All gateways must have the same value.
	Atomic AtomicBatches
	// Queues is the number of queues of work for which room is reserved. The default 0 means about 1 GiB for all.
	Queues int
	// Synchronous says that the embedded server synchronises its disk with every event. It only affects what Health says.
	Synchronous bool
	// MaxData is the largest data of an event in bytes, default 64 KiB. Larger events are refused. Raw publishes of larger
	// events are skipped.
	MaxData int
	// CheckChannel returns an error if a name is not a valid channel of an app. Raw events under such names are counted.
	// By default every name is valid.
	CheckChannel func(app, channel string) error
	// Prefix is put before all subjects, stream and bucket names, so that two
	// installations can share a cluster. Default none.
	Prefix string

	// AppsFollow says that [Log.Serve] will be called soon, with further apps. Until then no stream is reported as
	// belonging to no app.
	AppsFollow bool
	// URLs of the NATS servers. ConnectOptions may replace them.
	URLs []string
	// Name of the connections, default sluice.
	Name string
	// CredentialsFile, NKeyFile, User with Password, or Token authenticate.
	// The files are read, and the sources of the password and the token are called, for each new connection.
	CredentialsFile, NKeyFile, User string
	Password, Token                 Secret
	PasswordSource, TokenSource     func() (Secret, error)
	// CAFile, CertFile and KeyFile are PEM files for TLS, read for each new connection. With HandshakeFirst, the TLS
	// handshake precedes the first message of the server.
	CAFile, CertFile, KeyFile string
	HandshakeFirst            bool
	// Domain is the JetStream domain, default none.
	Domain string
	// InboxPrefix is the prefix of reply subjects, default _INBOX. A user that may only subscribe to its own prefix cannot
	// read the answers for others.
	InboxPrefix string
	// ConnectOptions are applied last and can override everything, for example to use an in-process server.
	ConnectOptions []nats.Option

	// Disturb is for tests. It is called for each live message, by several goroutines, and may drop, repeat or delay it.
	Disturb func(m *nats.Msg, deliver func(*nats.Msg))

	// StartTimeout is how long Open waits for the servers, default 10 s.
	StartTimeout time.Duration
	// PublishTimeout bounds one publish with its retries, default 10 s.
	PublishTimeout time.Duration
	// RepairTimeout is how long a repair is tried while the connection is established and the log does not answer, default
	// 60 s. It must be longer than it takes to notice a dead connection.
	RepairTimeout time.Duration
	// FeedShards is the number of goroutines that process live messages, default 4. FeedQueue bounds the queue of each,
	// default 16384 messages.
	FeedShards, FeedQueue int
	// FeedBytes bounds the queue of each in bytes, default 64 MiB. Messages that do not fit are read from the log later.
	FeedBytes int64
	// ReadAhead bounds the cache of messages that were read ahead for clients that page through channels, in bytes, default
	// 64 MiB.
	ReadAhead int64
	// Readers bounds the concurrent direct gets, default 8.
	Readers int
	// AuditInterval is the time between two comparisons of some silent channels with the log, default 10 s.
	AuditInterval time.Duration
	// NewEpoch begins a new epoch, because the machine crashed under a server that may have lost its last events.
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
