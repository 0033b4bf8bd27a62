package presence

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/kv"
)

// Options configure a [Roster]. Table and Node are required.
type Options struct {
	Table kv.Table
	// Node is the name of this gateway; no other gateway may ever have had it.
	Node string
	// Lease is the longest time until a silent gateway is buried, in whole seconds, default 10 s, at least 2
	// s. The lease in the table ends after four fifths of it, which leaves time for noticing, and is renewed
	// three times in that.
	Lease time.Duration
	// Tell is called for each change that this gateway made, or that a gateway made which this one buried. It
	// must not block. Whichever gateway tells a change, the change has the same id.
	Tell func(app, channel string, c Change)
	// Settled returns the time before which everything that Tell was called for is stored, so that it
	// survives this gateway. Default Now.
	Settled func() time.Time
	// Tombstones is how many records of seats that were given up a gateway leaves in the table before it
	// removes them, default 1,024; half of the number of its seats is added. Linger is how long they stay at
	// least, default a minute.
	Tombstones int
	Linger     time.Duration
	// Sole says that this process keeps the table, so that the table stopped with the previous process. Other
	// gateways in it then count for [Total] and [Roster.Company] only once they have written something since.
	Sole bool
	// Members reports whether a channel has members; nil means that none has.
	Members func(channel string) bool
	// ToldWithin bounds [Roster.Told], default a quarter of a second.
	ToldWithin time.Duration
	// Now is the clock, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

type roomKey struct{ app, channel string }

// Roster is this gateway's part in the presence of the cluster. Make it with [New]. Safe for concurrent use.
type Roster struct {
	opt     Options
	metrics counters

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stop    sync.Once

	// view is the known register. adopting is held while it changes and the rooms are told.
	view     atomic.Pointer[register]
	adopting rank.Mutex[rank.Adopting]
	// floor is the floor of this gateway in the register.
	floor atomic.Uint64

	// surveys bounds how many queries search the table at a time. looks are searches of single channels, each
	// shared by all concurrent queries.
	surveys *broker.Share
	looks   broker.Rounds[roomKey, *Fold]

	// claims bounds what strangers can cause to be written to the table.
	claims claimRates

	mu       rank.Mutex[rank.Roster]
	rooms    map[roomKey]*Room
	stale    []*Room
	peers    map[string]*peer
	failures seldom.Lines
	// lease is the revision of this gateway's lease, 0 for none. renewed is when it was last written, and
	// steady since when that has not failed. shaken is set from a failure until what the table has of this
	// gateway was compared. spoken are the latest renewals, and telling is the revision up to which all
	// changes were told.
	lease uint64
	// born is the revision of the first lease.
	born            uint64
	renewed, steady time.Time
	shaken          bool
	spoken          []renewal
	telling         uint64
	// looked is when the other gateways were last checked.
	looked time.Time
	// strays has gateways of which void records were seen.
	strays      map[string]stray
	wake, syncs chan struct{}
	unwatch     func()
	// questions are the latest unanswered questions about the connections of apps, by app, and questioned
	// wakes the goroutine that answers them. It answers none once leaving is set.
	questions  map[string]uint64
	questioned chan struct{}
	leaving    bool
	// untold: not all changes of this gateway could be told before its end.
	untold bool

	// own are the seats of this gateway, and coming are the numbers of subscriptions that are about to begin.
	ownMu   rank.Mutex[rank.OwnSeats]
	work    sync.Cond
	own     map[seat]*ownSeat
	coming  map[seat]int
	dirty   []*ownSeat
	busy    int
	settled chan struct{}
	// rested are the seats that rest, in the order in which their rests end; tired wakes the goroutine that
	// ends them.
	rested []resting
	tired  chan struct{}
	// tombs counts the records of seats that were given up; clearing is not nil while they are being removed.
	tombs    int
	clearing *clearing
}

// New takes a lease and begins to follow the leases of the other gateways. Errors: those of the table, or of
// ctx.
func New(ctx context.Context, opt Options) (*Roster, error) {
	if opt.Table == nil || opt.Node == "" {
		return nil, errors.New("presence: Table and Node are required")
	}
	if opt.Lease == 0 {
		opt.Lease = 10 * time.Second
	}
	opt.Lease = max((opt.Lease * 4 / 5).Truncate(time.Second), time.Second)
	if opt.Tombstones == 0 {
		opt.Tombstones = 1024
	}
	if opt.Linger == 0 {
		opt.Linger = time.Minute
	}
	if opt.ToldWithin == 0 {
		opt.ToldWithin = 250 * time.Millisecond
	}
	if opt.Tell == nil {
		opt.Tell = func(string, string, Change) {}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Settled == nil {
		opt.Settled = opt.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Roster{
		opt: opt, rooms: map[roomKey]*Room{}, peers: map[string]*peer{}, strays: map[string]stray{},
		own: map[seat]*ownSeat{}, coming: map[seat]int{}, settled: make(chan struct{}), tired: make(chan struct{}, 1), wake: make(chan struct{}, 1), syncs: make(chan struct{}, 1),
		surveys: broker.NewShare(surveyors), questions: map[string]uint64{}, questioned: make(chan struct{}, 1),
	}
	r.work.L = &r.ownMu
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.enter(ctx); err != nil {
		r.cancel()
		return nil, err
	}
	for range writers {
		r.running.Go(r.write)
	}
	r.running.Go(r.rousing)
	r.running.Go(r.beat)
	r.running.Go(r.tend)
	r.running.Go(r.gather)
	r.running.Go(r.resyncs)
	r.running.Go(r.answering)
	return r, nil
}

// Alive reports whether a gateway, this one or another, counts.
func (r *Roster) Alive(node string) bool {
	g := r.view.Load()
	return g != nil && g.alive(node)
}

// Nodes returns the names of the gateways that count, sorted.
func (r *Roster) Nodes() (all []string) {
	g := r.view.Load()
	if g == nil {
		return nil
	}
	for node := range g.Nodes {
		if g.alive(node) {
			all = append(all, node)
		}
	}
	slices.Sort(all)
	return all
}

// Close writes what is still to be written, leaves the register, and ends everything. If ctx is done before
// that, other gateways find out when the lease ends.
func (r *Roster) Close(ctx context.Context) {
	r.stop.Do(func() {
		r.flush(ctx)
		r.leave(ctx)
		r.unwatch()
		r.ownMu.Lock()
		r.cancel()
		r.ownMu.Unlock()
		r.work.Broadcast()
		r.running.Wait()
	})
}

// warn logs a failure that may occur in large numbers. The log line is rate-limited.
func (r *Roster) warn(what string, err error) {
	r.metrics.failures.Add(1)
	if r.ctx.Err() == nil {
		r.failures.Warn(r.opt.Logger, what, what, "error", err)
	}
}

// resync has a room compared with the table soon.
func (r *Roster) resync(m *Room) {
	r.mu.Lock()
	if !m.stale {
		m.stale = true
		r.stale = append(r.stale, m)
	}
	r.mu.Unlock()
	select {
	case r.syncs <- struct{}{}:
	default:
	}
}

// nextStale removes and returns the room that has waited longest to be compared, nil if none waits.
func (r *Roster) nextStale() *Room {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.stale) == 0 {
		r.stale = nil
		return nil
	}
	m := r.stale[0]
	m.stale, r.stale[0] = false, nil
	r.stale = r.stale[1:]
	return m
}

// resyncs is the goroutine that compares rooms, one after the other.
func (r *Roster) resyncs() {
	for {
		m := r.nextStale()
		if m == nil {
			select {
			case <-r.ctx.Done():
				return
			case <-r.syncs:
			}
			continue
		}
		ctx, cancel := context.WithTimeout(r.ctx, writeTimeout)
		err := m.sync(ctx)
		cancel()
		if err == nil || r.ctx.Err() != nil {
			continue
		}
		r.warn("looking up presence failed; it is tried again", err)
		r.resync(m)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(retryWait):
		}
	}
}

// list returns records of seats once it is known whether their gateways count.
func (r *Roster) list(ctx context.Context, pattern string) ([]kv.Record, error) {
	records, err := r.opt.Table.List(ctx, pattern)
	if err != nil {
		return nil, err
	}
	return records, r.judge(ctx, records)
}

func (r *Roster) newFold(channel string) *Fold {
	return NewFold(r.opt.Members != nil && r.opt.Members(channel))
}

func (r *Roster) foldOf(channel string, records []kv.Record) *Fold {
	f := r.newFold(channel)
	f.know(r.view.Load(), nil)
	slices.SortFunc(records, func(a, b kv.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, rec := range records {
		if s, n, ok := parse(rec.Key, rec.Value); ok {
			f.apply(holder{s.node, s.user}, rec.Revision, n)
		}
	}
	return f
}
