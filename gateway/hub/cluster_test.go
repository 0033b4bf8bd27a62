package hub

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
)

// This is a simulated cluster in which only the hub is real. The log of one channel, its feeds and the bucket
// are simulated. Time is that of a synctest bubble.

const (
	// countIdle is the silence after which counts begin anew. Checkpoints are written within saveSpread.
	countIdle  = count.TTL / 2
	saveSpread = 40 * time.Millisecond
)

// simLog is the log of one channel. Retention removes the oldest publications.
type simLog struct {
	mu    sync.Mutex
	epoch string
	next  uint64
	most  int
	all   []*broker.Publication
	// behind is the number of newest publications that reads miss, as from a replica that has not caught up.
	behind int
	// skew is how far the clock of the log's leader is ahead.
	skew time.Duration
	// attaching is how long an attach takes beside the round trip to the server.
	attaching time.Duration
}

// publish stores a publication with a conflation value. "-a" turns deltas off for it, "!a" gives it a name
// that spoils deltas, and "~a" leaves it to the rules, which find it too small.
func (l *simLog) publish(value string) *broker.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	p := &broker.Publication{
		Event: broker.Event{
			Name: "tick", Data: []byte(`{"n":1}`), Delta: broker.DeltaAlways, HasKey: true, ConflationKey: value,
		},
		Position: broker.Position{Epoch: l.epoch, Offset: l.next}, Time: time.Now().Add(l.skew),
	}
	switch kind, of := value[:1], value[1:]; kind {
	case "-":
		p.Delta, p.ConflationKey = broker.DeltaNever, of
	case "!":
		p.Name, p.ConflationKey = "my__delta_seq", of
	case "~":
		p.Delta, p.ConflationKey = broker.DeltaDefault, of
	}
	if n := len(l.all); n > 0 {
		p.Prev = l.all[n-1].Offset
	}
	l.all = append(l.all, p)
	l.all = l.all[max(0, len(l.all)-l.most):]
	return p
}

// fallBehind makes reads miss the newest n publications for 100 ms.
func (l *simLog) fallBehind(n int) {
	set := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.behind = n
	}
	set(n)
	time.AfterFunc(100*time.Millisecond, func() { set(0) })
}

// begin starts a new epoch of the log.
func (l *simLog) begin(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

func (l *simLog) purge(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.Clone(l.all[max(0, len(l.all)-keep):])
}

// from returns the retained publications from an offset on, as [broker.History] does, except for the newest
// behind.
func (l *simLog) from(offset uint64, behind int) []*broker.Publication {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*broker.Publication
	for _, p := range l.all[:max(0, len(l.all)-behind)] {
		if p.Offset >= offset {
			past := *p
			past.Prev = 0
			out = append(out, &past)
		}
	}
	return out
}

// Read implements [broker.History] as far as the hub needs it.
func (l *simLog) Read(ctx context.Context, _, _ string, q broker.Query) (*broker.Page, error) {
	if err := simDelay(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	behind, epoch := l.behind, l.epoch
	l.mu.Unlock()
	retained := l.from(0, behind)
	page := &broker.Page{Retained: broker.Retained{Epoch: epoch, Messages: uint64(len(retained))}}
	if n := len(retained); n > 0 {
		page.Retained.Oldest, page.Retained.Newest = retained[0].Offset, retained[n-1].Offset
	}
	for _, p := range retained {
		if p.Offset >= q.From && (q.To == 0 || p.Offset <= q.To) {
			page.Publications = append(page.Publications, p)
		}
	}
	if q.NewestFirst {
		slices.Reverse(page.Publications)
	}
	if len(page.Publications) > q.Limit {
		page.Publications, page.More = page.Publications[:q.Limit], true
	}
	return page, nil
}

func (l *simLog) After(context.Context, string, string, broker.Position, int) (*broker.Page, error) {
	panic("the hub does not ask this")
}

func (l *simLog) Retained(context.Context, string, string) (broker.Retained, error) {
	panic("the hub does not ask this")
}

func (l *simLog) Lost(context.Context, string, string, time.Time) (bool, error) {
	panic("the hub does not ask this")
}

// simDelay waits for a round trip to a server.
func simDelay(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(100+rand.IntN(300)) * time.Microsecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// simBucket is a simulated bucket of checkpoints.
type simBucket struct {
	ttl time.Duration

	mu        sync.Mutex
	revision  uint64
	entries   map[string]kv.Entry
	followers map[int]simFollower
	nextID    int
	// down makes every operation fail, hung makes it wait for its context, and deaf withholds changes from
	// followers.
	down, hung, deaf bool
	operations       int
	// after, if set, runs once after the next Get.
	after func()
}

type simFollower struct {
	key  string
	seen func(kv.Entry)
}

func newSimBucket() *simBucket {
	return &simBucket{ttl: count.TTL, entries: map[string]kv.Entry{}, followers: map[int]simFollower{}}
}

func (b *simBucket) reach(ctx context.Context) error {
	if err := simDelay(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.operations++
	down, hung := b.down, b.hung
	b.mu.Unlock()
	if hung {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return kv.ErrUnavailable
	}
	return nil
}

func (b *simBucket) live(key string) (kv.Entry, bool) {
	e, ok := b.entries[key]
	return e, ok && time.Since(e.Time) < b.ttl
}

func (b *simBucket) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := b.reach(ctx); err != nil {
		return kv.Entry{}, err
	}
	b.mu.Lock()
	e, ok := b.live(key)
	after := b.after
	b.after = nil
	b.mu.Unlock()
	if after != nil {
		after()
	}
	if !ok {
		return kv.Entry{}, kv.ErrNotFound
	}
	return e, nil
}

func (b *simBucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, key, value, 0)
}

func (b *simBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(ctx, key, value, revision)
}

func (b *simBucket) write(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := b.reach(ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	current := uint64(0)
	if have, ok := b.live(key); ok {
		current = have.Revision
	}
	if revision != current {
		b.mu.Unlock()
		return 0, kv.ErrConflict
	}
	b.revision++
	e := kv.Entry{Value: value, Revision: b.revision, Time: time.Now()}
	b.entries[key] = e
	var told []func(kv.Entry)
	for _, id := range slices.Sorted(maps.Keys(b.followers)) {
		if f := b.followers[id]; f.key == key && !b.deaf {
			told = append(told, f.seen)
		}
	}
	b.mu.Unlock()
	for _, seen := range told {
		seen(kv.Entry{Value: value, Revision: e.Revision})
	}
	return e.Revision, nil
}

func (b *simBucket) Delete(context.Context, string, uint64) error { panic("the hub does not ask this") }

func (b *simBucket) Follow(key string, seen func(kv.Entry)) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.nextID
	b.nextID++
	b.followers[id] = simFollower{key, seen}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.followers, id)
	}, nil
}

// checkpoint returns the key, the revision and the state of the only checkpoint.
func (b *simBucket) checkpoint() (key string, revision uint64, s count.Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.entries {
		if err := json.Unmarshal(e.Value, &s); err != nil {
			panic(err)
		}
		return key, e.Revision, s
	}
	panic("there is no checkpoint")
}

// set changes how the bucket behaves.
func (b *simBucket) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}
