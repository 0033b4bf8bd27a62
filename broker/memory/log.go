package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Log is an in-memory [broker.Log]. Make one with [New].
type Log struct {
	opts   Options
	closed atomic.Bool

	mu   sync.RWMutex
	apps map[string]*appLog

	// running counts the goroutines that deliver to sinks, and the janitor. It is raised only under the lock
	// of an app that is not closed, so that Close can wait for it.
	running sync.WaitGroup
	stop    chan struct{}
}

var _ broker.Log = (*Log)(nil)

// New makes a log. It fails when an option is out of range or an app id is
// empty. The caller must call [Log.Close].
func New(opts Options) (*Log, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("memory log: %w", err)
	}
	l := &Log{opts: opts, apps: make(map[string]*appLog), stop: make(chan struct{})}
	for _, id := range opts.Apps {
		if err := l.AddApp(id); err != nil {
			return nil, err
		}
	}
	if err := l.open(broker.GatewaysApp); err != nil {
		return nil, err
	}
	every := opts.DedupWindow
	if opts.MaxAge > 0 {
		every = min(every, opts.MaxAge)
	}
	l.running.Add(1)
	go l.janitor(min(max(every/8, time.Second), time.Minute))
	return l, nil
}

// AddApp adds an app with an empty log and an epoch of its own. It does nothing if the app exists.
func (l *Log) AddApp(id string) error {
	if id == "" {
		return errors.New("memory log: empty app id")
	}
	if broker.ReservedApp(id) {
		return fmt.Errorf("memory log: app id %.40q: ids that begin with # are reserved", id)
	}
	return l.open(id)
}

func (l *Log) open(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return broker.ErrClosed
	}
	if l.apps[id] == nil {
		l.apps[id] = newAppLog(l)
	}
	return nil
}

// app returns the log of an app, after the checks that every call begins with.
func (l *Log) app(ctx context.Context, id string) (*appLog, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.closed.Load() {
		return nil, broker.ErrClosed
	}
	l.mu.RLock()
	a := l.apps[id]
	l.mu.RUnlock()
	if a == nil {
		return nil, fmt.Errorf("%w: %q", broker.ErrUnknownApp, id)
	}
	return a, nil
}

func (l *Log) snapshot() []*appLog {
	l.mu.RLock()
	defer l.mu.RUnlock()
	apps := make([]*appLog, 0, len(l.apps))
	for _, a := range l.apps {
		apps = append(apps, a)
	}
	return apps
}

// Publish implements [broker.Publisher]. The events of one call are stored together or, after an error, not
// at all. Texts and tags are copied, so that a retained publication does not keep a request body in memory.
func (l *Log) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return nil, err
	}
	entries, err := l.entries(events)
	if err != nil {
		return nil, err
	}
	return a.publish(l.opts.Now(), entries)
}

// Cast implements [broker.Caster].
func (l *Log) Cast(ctx context.Context, app string, events ...broker.Outgoing) error {
	a, err := l.app(ctx, app)
	if err != nil {
		return err
	}
	entries, err := l.entries(events)
	if err != nil {
		return err
	}
	return a.cast(l.opts.Now(), entries)
}

func (l *Log) entries(events []broker.Outgoing) ([]*entry, error) {
	entries := make([]*entry, len(events))
	for i, out := range events {
		if out.Event == nil {
			return nil, fmt.Errorf("memory log: event %d of the publish is nil", i)
		}
		if n := eventBytes(out.Event); n > l.opts.MaxEventBytes {
			return nil, fmt.Errorf("%w: event %d has %d bytes, limit %d",
				broker.ErrTooLarge, i, n, l.opts.MaxEventBytes)
		}
		entries[i] = newEntry(out)
	}
	return entries, nil
}

// Attach implements [broker.Feed].
func (l *Log) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return nil, err
	}
	return a.attach(channel, sink)
}

// Health implements [broker.Log].
func (l *Log) Health() broker.Health {
	h := broker.Health{
		Ready:      true,
		Backend:    "memory",
		Durability: "an acknowledged event is in the memory of this process only; any end of the process loses it", Level: broker.LevelNone,
	}
	if l.closed.Load() {
		h.Ready = false
		h.Problems = []string{"the log was closed"}
	}
	return h
}

// Now implements [broker.Log].
func (l *Log) Now() time.Time { return l.opts.Now() }

// Close implements [broker.Log]. It waits for calls of sinks that are in progress; none begins after it
// returns. A sink must not call it.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closed.Swap(true)
	l.mu.Unlock()
	if first {
		close(l.stop)
	}
	for _, a := range l.snapshot() {
		a.close()
	}
	l.running.Wait()
	return nil
}

// janitor frees expired publications of apps without traffic. Callers cannot see its effect: every call
// removes expired publications first.
func (l *Log) janitor(every time.Duration) {
	defer l.running.Done()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			for _, a := range l.snapshot() {
				a.clean(l.opts.Now())
			}
		}
	}
}
