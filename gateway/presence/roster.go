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
	// Node names this gateway; no other one, earlier or later, may have the name.
	Node string
	// Lease is how long it takes at most until a gateway that says nothing is
	// buried, whole seconds, default 10 s, at least 2 s. What it holds in the
	// table ends after four fifths of it, which leaves time for noticing, and is
	// renewed three times as often.
	Lease time.Duration
	// Tell is told of each change that this gateway made, or that a gateway made
	// which it buried. It must not block. The id is the same for everybody who
	// tells of a change.
	Tell func(app, channel string, c Change)
	// Settled is the time before which everything of which Tell was told is stored, so
	// that it survives this gateway. Default Now.
	Settled func() time.Time
	// Tombstones is how many records of seats that it gave up a gateway leaves in the
	// table before it clears them away, default 1,024 and half of the seats it has;
	// Linger how long at least they stay, default a minute.
	Tombstones int
	Linger     time.Duration
	// Sole says that the table is kept by this process, so that it has ended with its predecessor: whoever else
	// is in it counts for [Total] and [Roster.Company] once it has said something since.
	Sole bool
	// Members says of a channel whether it has members; nil means that none has.
	Members func(channel string) bool
	// ToldWithin bounds [Roster.Told], default a quarter of a second.
	ToldWithin time.Duration
	// Now is the clock, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

type roomKey struct{ app, channel string }

// Roster is this gateway's part in the presence of the cluster. Make it with [New].
type Roster struct {
	opt     Options
	metrics counters

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stop    sync.Once

	// view is the register as it is known. adopting is held while it changes and the
	// rooms are told.
	view     atomic.Pointer[register]
	adopting rank.Mutex[rank.Adopting]
	// floor is ours in it.
	floor atomic.Uint64

	// surveys bound how many look through the table for somebody who asks, and looks are of single
	// channels, each made once for all who ask.
	surveys *broker.Share
	looks   broker.Rounds[roomKey, *Fold]

	// claims bound what strangers have written to the table.
	claims claimRates

	mu       rank.Mutex[rank.Roster]
	rooms    map[roomKey]*Room
	stale    []*Room
	peers    map[string]*peer
	failures seldom.Lines
	// lease is the revision of our own, 0 for none; renewed is when that last
	// succeeded and steady since when it has not failed; shaken is set from a failure
	// until what the table has of us was compared. spoken are the latest leases, and
	// telling is the revision up to which all was told.
	lease uint64
	// born is the revision of the first one.
	born            uint64
	renewed, steady time.Time
	shaken          bool
	spoken          []renewal
	telling         uint64
	// looked is when the other gateways were last looked after.
	looked time.Time
	// strays are gateways of which records were seen that do not count.
	strays      map[string]stray
	wake, syncs chan struct{}
	unwatch     func()
	// questions are the latest about the connections of apps that are not answered yet, by app, and questioned
	// wakes who answers them; none is once this gateway is leaving.
	questions  map[string]uint64
	questioned chan struct{}
	leaving    bool
	// untold: not all of what this gateway changed could be told at its end.
	untold bool

	// own are the seats of this gateway, and coming the subscriptions that are about to
	// begin.
	ownMu   rank.Mutex[rank.OwnSeats]
	work    sync.Cond
	own     map[seat]*ownSeat
	coming  map[seat]int
	dirty   []*ownSeat
	busy    int
	settled chan struct{}
	// rested are the seats that rest, in the order of when they do no more; tired wakes who looks after them.
	rested []resting
	tired  chan struct{}
	// tombs counts the records of seats that were given up; clearing is under way
	// from when there are too many.
	tombs    int
	clearing *clearing
}

// New takes a lease and starts to follow those of the others.
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

// Alive says whether a gateway, this one or another, counts.
func (r *Roster) Alive(node string) bool {
	g := r.view.Load()
	return g != nil && g.alive(node)
}

// Nodes names the gateways that count, in order.
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

// Close gives up the seats that are still to be given up, says goodbye, and ends
// everything. What is not written when ctx is done others will find out.
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

// warn logs a failure that is likely to come in numbers, once in a while.
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

// nextStale takes the room that waits for longest to be compared, nil if none does.
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

// resyncs compares rooms, one after the other.
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

// list returns records of seats when it is known whether their gateways count.
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
