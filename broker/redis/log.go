package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/kv"
)

// Log is the log on Redis. Make it with [Open].
type Log struct {
	opt   Options
	keys  keys
	pub   rueidis.Client
	read  rueidis.Client
	subs  *subscriptions
	addr  string // the address that redis_url names
	lines seldom.Lines
	apps  broker.Apps[*appLog]
	stats follow.Counters
	clock broker.Clock

	follow  *follow.Feed[arrival]
	queues  follow.Queues[live]
	readers *broker.Share
	// listings combines concurrent requests for an app's channels.
	listings broker.Rounds[string, []string]
	repairs  *broker.Share
	wake     follow.Bell

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stop    sync.Once

	// larger is the largest limit of event data that Serve set, in bytes.
	larger atomic.Int64

	mu       rank.Mutex[rank.RedisLog]
	problems map[string]problem
	// persistence is what the servers report about their persistence, as part of a sentence.
	persistence string
	level       broker.Level
	policy      string // maxmemory-policy
	recent      acknowledged
	// doubt is set when a server may have lost events, deaf when any live message may
	// have been missed, unwritten when the notice of a write to a table may have been.
	doubt, deaf, unwritten atomic.Bool
	retry                  follow.Retry
	// probe is the key beside a channel to which writing failed, nil if writing works.
	probe  atomic.Pointer[string]
	probes atomic.Uint64
	tables kv.Alarm
	// runs are the run ids of the servers that have slots, by address, as last seen by supervise, or before
	// that at the start.
	runs map[string]string
	// left is the time when the connections to a replica were last closed.
	left atomic.Int64
}

var _ broker.Log = (*Log)(nil)

// appLog is the log of one app.
type appLog struct {
	opt AppOptions
	// limits are the retention limits: those of opt until Serve changes them.
	limits atomic.Pointer[AppOptions]
	epoch  atomic.Pointer[string]
	// open is set once the app has an epoch. spoilt is set while one of its keys holds a foreign value.
	open, spoilt atomic.Bool

	mu rank.Mutex[rank.RedisApp]
	// ended holds the epochs whose end this process saw.
	ended map[string]bool
}

// begin adopts an epoch and returns the previous one. It refuses an epoch that had ended: a server lost the
// newer one, or the answer is outdated.
func (a *appLog) begin(epoch string) (before string, began bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.epoch.Load()
	switch {
	case old == nil:
	case *old == epoch:
		return epoch, true
	case a.ended[epoch]:
		return *old, false
	default:
		before = *old
		if a.ended == nil {
			a.ended = map[string]bool{}
		}
		a.ended[before] = true
	}
	a.epoch.Store(&epoch)
	return before, true
}

// Ready reports whether the app has an epoch.
func (a *appLog) Ready() bool { return a.open.Load() }

func (a *appLog) currentEpoch() string { return *a.epoch.Load() }

// Open connects to the servers, checks that they match the options, and starts the feed.
func Open(ctx context.Context, opt Options) (*Log, error) { return begin(ctx, opt, (*Log).open) }

// begin makes a log and calls open on it. It closes the log on an error.
func begin(ctx context.Context, opt Options, open func(*Log, context.Context) error) (*Log, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	l := &Log{
		opt: opt, keys: keys{prefix: opt.Prefix}, problems: map[string]problem{},
		readers: broker.NewShare(opt.Readers), repairs: broker.NewShare(16), wake: follow.NewBell(),
	}
	l.recent.positions = map[place]noted{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.follow = l.newFeed()
	ctx, cancel := context.WithTimeout(ctx, opt.StartTimeout)
	defer cancel()
	if err := open(l, ctx); err != nil {
		_ = l.Close()
		return nil, inWords(err)
	}
	return l, nil
}

// connect connects to the servers and checks that they match the options.
func (l *Log) connect(ctx context.Context) error {
	c, err := l.opt.client("")
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	l.addr = strings.Join(c.InitAddress, ", ")
	if c.SelectDB != 0 {
		l.keys.heard = "@" + strconv.Itoa(c.SelectDB)
	}
	for _, c := range []struct {
		role string
		to   *rueidis.Client
	}{{"publish", &l.pub}, {"read", &l.read}} {
		client, err := l.dial(ctx, c.role)
		if err != nil {
			return err
		}
		*c.to = client
	}
	if err := l.inspectFirst(ctx); err != nil {
		return err
	}
	l.subs = newSubscriptions(l)
	return l.subs.start(ctx)
}

func (l *Log) open(ctx context.Context) error {
	if err := l.connect(ctx); err != nil {
		return err
	}
	if err := l.openApps(ctx); err != nil {
		return err
	}
	l.startFeed()
	l.checkRuns() // before anything is acknowledged
	l.running.Go(l.supervise)
	return nil
}

// maxClients is part of the answer of a server without room for a connection.
const maxClients = "max number of clients"

// dial retries until the start timeout, because a gateway may start before its servers. It stops at an error
// that waiting does not change.
func (l *Log) dial(ctx context.Context, role string) (rueidis.Client, error) {
	opt, err := l.opt.client(role)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	var before, told error
	for {
		c, err := rueidis.NewClient(opt)
		if err == nil {
			if err = c.Do(ctx, c.B().Ping().Build()).Error(); err == nil {
				return c, nil
			}
			c.Close()
		}
		if _, answered := rueidis.IsRedisErr(err); answered && !passing(err) {
			return nil, l.unreached(err)
		}
		if said := l.greeting(ctx, opt.InitAddress[0]); said != "" {
			told = greeted(said)
		}
		switch {
		case told != nil:
			err = told
		case before != nil && errors.Is(err, context.DeadlineExceeded):
			err = before // the last attempt may have had too little time to find out
		}
		before = err
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", broker.ErrUnavailable, l.unreached(err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// refresh adopts the epoch of an app. It creates one if there is none: the app is new, or all its data is
// lost.
func (l *Log) refresh(ctx context.Context, a *appLog) error {
	epoch, err := l.askEpoch(ctx, a, "")
	if err != nil {
		return unavailable("asking for the epoch of the app "+a.opt.ID, err)
	}
	if !l.adopt(a, epoch) {
		// A server that lost the present epoch still has one that had ended.
		return l.renew(ctx, a, epoch)
	}
	a.open.Store(true)
	return nil
}

// tryOut runs the commands that need the rarest permissions. A gateway whose user lacks them would start but
// could store nothing.
func (l *Log) tryOut(ctx context.Context, app string) error {
	return l.persist(ctx, func(ctx context.Context) error {
		err := touchScript.Exec(ctx, l.pub, []string{l.keys.probe(app)}, l.probeArgs(l.keys.probe(app))).Error()
		if err != nil {
			return unavailable("trying out the rights of the user of Redis", err)
		}
		return nil
	})
}

// renew begins a new epoch of an app because a part of the log of epoch lost is gone.
func (l *Log) renew(ctx context.Context, a *appLog, lost string) error {
	epoch, err := l.askEpoch(ctx, a, lost)
	if err != nil {
		return unavailable("beginning a new epoch of the app "+a.opt.ID, err)
	}
	l.adopt(a, epoch)
	return nil
}

// askEpoch returns the present epoch. It creates a new one if there is none or it equals lost. It also sets
// the clock of the log.
func (l *Log) askEpoch(ctx context.Context, a *appLog, lost string) (string, error) {
	answer, err := renewScript.Exec(ctx, l.pub, []string{l.keys.epoch(a.opt.ID)}, []string{lost, rand.Text()}).AsStrSlice()
	l.leaveReplica(ctx, err)
	if err != nil {
		return "", err
	}
	if len(answer) != 2 {
		return "", errNotOurs
	}
	micros, err := strconv.ParseUint(answer[1], 10, 64)
	if err != nil {
		return "", errNotOurs
	}
	l.clock.Set(microseconds(micros), time.Now())
	return answer[0], nil
}

// adopt takes over an epoch and tells the followers. It reports false for an epoch that had ended.
func (l *Log) adopt(a *appLog, epoch string) bool {
	before, began := a.begin(epoch)
	if !began || before == "" || before == epoch {
		return began
	}
	l.opt.Logger.Warn("the log of an app began a new life", "app", a.opt.ID, "epoch", epoch, "before", before)
	// What was acknowledged in the old epoch need not exist any more.
	l.recent.forget(a.opt.ID)
	for _, f := range l.follow.Of(a.opt.ID) {
		f.Line().(*follower).newEpoch()
	}
	return true
}

// unavailable wraps an error of the client library.
func unavailable(what string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, rueidis.ErrClosing):
		return fmt.Errorf("%s: %w", what, broker.ErrClosed)
	}
	return fmt.Errorf("%w: %s: %w", broker.ErrUnavailable, what, err)
}

// Now implements [broker.Log]. It is derived from the last time that a server reported.
func (l *Log) Now() time.Time { return l.clock.At(time.Now()) }

// Close implements [broker.Log].
func (l *Log) Close() error {
	l.stop.Do(func() {
		l.cancel()
		l.follow.Close()
		if l.subs != nil {
			l.subs.close()
		}
		l.running.Wait()
		for _, c := range []rueidis.Client{l.pub, l.read} {
			if c != nil {
				c.Close()
			}
		}
	})
	return nil
}
