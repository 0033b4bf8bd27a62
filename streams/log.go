package streams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/kv"
)

// Log is the log on JetStream. [Open] returns one. All methods are safe for concurrent use, unless they say otherwise.
type Log struct {
	opt    Options
	feed   *link
	pub    *link
	read   *link
	js     jets // on the publish connection
	send   *sender
	admin  jets // on the read connection
	reader *reader
	ahead  ahead
	epochs *epochs
	apps   broker.Apps[*appLog]
	// told is closed by the first [Log.Serve].
	told    chan struct{}
	telling sync.Once
	follow  *follow.Feed[arrival]
	shards  []*feedShard
	queues  follow.Queues[live]
	casts   casts
	stats   follow.Counters
	upkeep  upkeep
	// confirming holds the streams whose settings were put back a moment ago.
	confirming sync.Map
	skips      seldom.Lines
	// overlooking is the time of the last look for overlooked events of any app, in Unix nanoseconds.
	overlooking atomic.Int64
	astray      seldom.Lines
	clock       broker.Clock

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	inline  inline
	repairs *broker.Share
	// listings are requests for the channels of an app. listing bounds how many are under way.
	listings broker.Rounds[string, []string]
	listing  *broker.Share
	wake     follow.Bell
	// lacking requests comparisons of apps whose live messages were dropped here, writesLost a check of the tables after
	// lost writes.
	lacking, writesLost follow.Bell
	stop                sync.Once
	// opened is set when apps and shards are complete.
	opened atomic.Bool
	// level is the API level of JetStream when the log was opened. apart is set when the server does not store batches as
	// a whole although it should.
	level int
	apart atomic.Bool
	// unlisted is set when NATS does not permit listing streams.
	unlisted atomic.Bool
	// unadvised is set when NATS does not permit subscribing to advisories about edits.
	unadvised atomic.Bool

	// larger is the largest data size, and addresses the number of queues of work, of settings later than those of the
	// start.
	larger, addresses atomic.Int64

	mu       rank.Mutex[rank.StreamsLog]
	problems map[string]problem
	tables   kv.Alarm
	buckets  []kv.BucketOptions
	works    []*Work
	refusals map[string]*refusal // by the text of the problem
	asking   denials
	// asked is when the server was last asked for its payload limit. Only supervise uses it.
	asked time.Time
}

var (
	_ broker.Log     = (*Log)(nil)
	_ broker.Caster  = (*Log)(nil)
	_ broker.Ranking = (*Log)(nil)
)

// minAPILevel is the level of nats-server 2.11, the first version with everything that is used here.
const minAPILevel = 1

// Open connects, provisions the streams of all apps and starts the feed.
func Open(ctx context.Context, opt Options) (*Log, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	l := &Log{
		told: make(chan struct{}),
		opt:  opt, problems: map[string]problem{}, refusals: map[string]*refusal{},
		repairs: broker.NewShare(16), listing: broker.NewShare(1), wake: follow.NewBell(), lacking: follow.NewBell(), writesLost: follow.NewBell(),
	}
	l.ahead.room = int(opt.ReadAhead)
	l.addApps()
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.follow = l.newFeed()
	ctx, cancel := context.WithTimeout(ctx, opt.StartTimeout)
	defer cancel()
	if err := l.open(ctx); err != nil {
		// A missing permission would otherwise look like a timeout.
		err = errors.Join(err, l.refusal())
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	if err := l.connectAll(ctx); err != nil {
		return err
	}
	var info *jetstream.AccountInfo
	err := attempt(ctx, func(ctx context.Context) (err error) {
		info, err = l.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return l.withoutJetStream(err)
	}
	if info.API.Level < minAPILevel {
		return fmt.Errorf("the NATS server %s is too old (JetStream API level %d, need %d: nats-server 2.11 or later)",
			l.pub.conn().ConnectedServerVersion(), info.API.Level, minAPILevel)
	}
	l.level = info.API.Level
	l.checkPayload(time.Now())
	if l.epochs, err = openEpochs(ctx, l); err != nil {
		return fmt.Errorf("bucket of epochs: %w", err)
	}
	if err := l.openApps(ctx); err != nil {
		return err
	}
	l.startFeed()
	l.opened.Store(true)
	for _, a := range l.apps.All() {
		l.watch(a)
	}
	l.running.Go(l.supervise)
	l.running.Go(l.watchStrays)
	return nil
}

// withoutJetStream returns the error for an account without JetStream, or with one that does not answer.
func (l *Log) withoutJetStream(err error) error {
	where := "the NATS server " + redactURLs(l.opt.URLs)
	if l.opt.Domain != "" {
		where = fmt.Sprintf("the JetStream domain %q at %s (nats.domain)", l.opt.Domain, where)
	}
	hint := ""
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		hint = "; it was waited for during nats.start_timeout: is it enabled there, also for the account, and is a leaf node connected?"
	}
	return fmt.Errorf("%w: JetStream of %s: %w%s", broker.ErrUnavailable, where, err, hint)
}

func (l *Log) handlers(k *link) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			k.noted(err)
			if k == l.feed {
				l.unadvised.Store(false)
			}
			// Without an error, the connection is about to be replaced.
			if l.ctx.Err() == nil && err != nil {
				k.changes.Warn(l.opt.Logger, "lost", "connection to NATS lost", "role", k.role, "error", err)
			}
			if l.opened.Load() {
				l.disconnected()
			}
			if k == l.read {
				l.ahead.forget("") // the server may come back without its last messages
			}
			k.tell() // the library will not read on, so the last messages are processed here
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { k.failed(err) }),
		nats.ReconnectHandler(func(c *nats.Conn) {
			k.changes.Info(l.opt.Logger, "again", "connected to NATS again", "role", k.role, "server", c.ConnectedUrlRedacted())
			l.trigger()
		}),
		nats.ClosedHandler(func(*nats.Conn) { k.wake() }),
		nats.ErrorHandler(func(c *nats.Conn, _ *nats.Subscription, err error) { l.reported(k, c, err) }),
		nats.LameDuckModeHandler(func(*nats.Conn) {
			l.opt.Logger.Info("a NATS server is about to stop", "role", k.role)
		}),
	}
}

// reported handles an error that NATS or the library reports.
func (l *Log) reported(k *link, c *nats.Conn, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		l.stats.Slow.Add(1)
		l.trigger()
	case errors.Is(err, nats.ErrPermissionViolation):
		k.deny(err.Error())
		l.refused(k.role, err)
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		k.crowded.Add(1)
		l.refused(k.role, errCrowded)
	case errors.Is(err, nats.ErrBadHeaderMsg):
		// The message is delivered nevertheless, and is skipped and counted there.
	case !c.IsConnected():
		k.failed(err)
	default:
		k.lines.Warn(l.opt.Logger, "reported", "NATS reported an error", "role", k.role, "error", l.redact(err))
	}
}

// Now implements [broker.Log]. It is based on the time that the leader of a stream reported last.
func (l *Log) Now() time.Time { return l.clock.At(time.Now()) }

// Close implements [broker.Log].
func (l *Log) Close() error {
	l.stop.Do(func() {
		l.cancel()
		l.follow.Close()
		l.running.Wait()
		l.inline.close()
		for _, k := range l.links() {
			k.Close()
		}
	})
	return nil
}
