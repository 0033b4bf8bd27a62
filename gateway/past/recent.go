package past

import (
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/backlog"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// pageSize is the number of publications of the largest page that is read.
	pageSize = 1000
)

// Recent is the past of one channel for subscriptions that are behind: recent publications, and pages of the
// log below them. A goroutine reads pages as long as a way waits. Safe for concurrent use.
type Recent struct {
	line    *fanout.Line
	app     *app.App
	library *Library
	// life returns the present epoch of the log.
	life func() string

	mu      rank.Mutex[rank.Past]
	backlog *backlog.Backlog[*fanout.Event, *fanout.Way]
	// epoch is the epoch of what is kept.
	epoch   string
	reading bool
	// asleep: nothing of the past may be read, so nothing is kept. [Recent.Review] ends that.
	asleep bool
	// decided is the offset above which everything in memory has its live frames. Publications that were read
	// from the log have plain ones.
	decided uint64
	// erasures counts the calls of Erase. A reading that began before the last one may contain erased
	// publications.
	erasures int
	// bytes is the size that was added to that of the library.
	bytes  int
	latest latest
	// under are the rules under which the snapshot is made.
	under rules
	looks looks
}

// New returns the past of a channel, nil if nothing of it can ever be read. The app's settings may change
// while the channel is followed. life returns the present epoch of the log.
func New(in *Library, of *app.App, line *fanout.Line, life func() string) *Recent {
	r := of.Recovery
	if in.Log.History == nil || pusher.KindOf(line.Name).ServerToUser() {
		return nil
	}
	limits := backlog.Limits{Items: r.MaxEvents, Bytes: r.MaxBytes}
	if !r.Enabled {
		limits = backlog.Limits{Items: of.Limits.MaxHistoryPage, Bytes: fanout.MaxBaseBytes}
	}
	made := &Recent{line: line, app: of, library: in, life: life, backlog: backlog.New[*fanout.Event, *fanout.Way](limits)}
	made.under = made.rules()
	made.asleep = !r.Enabled && !of.Rewind && !made.under.snapshot.On
	return made
}

// Begin forgets everything, because of a new epoch or a gap. The next publication follows place.
func (r *Recent) Begin(epoch string, place uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.epoch, r.decided = epoch, place
	woken := r.backlog.Begin(place)
	r.count()
	r.forget()
	r.mu.Unlock()
	if len(woken) > 0 {
		// Waking may wait for a shard, and the caller holds the lock of the channel.
		r.library.Background(func() { r.wake(woken) })
	}
}

// Attach is Begin for a channel that may have received publications already.
func (r *Recent) Attach(epoch string, place uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// What the window has dropped meanwhile is read from the log when a way needs it.
	low := max(place, r.backlog.Low())
	items, high := r.backlog.AppendAfter(nil, low, r.backlog.Len())
	r.epoch, r.decided = epoch, low
	r.backlog.Begin(low)
	for _, p := range items {
		r.backlog.Append(p)
	}
	r.backlog.Skip(high)
	r.count()
}

// Add appends a publication that is about to be delivered.
func (r *Recent) Add(p *fanout.Event) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.asleep:
		r.backlog.Window.Begin(max(r.backlog.High(), p.Pub.Offset))
	case r.library.Bytes.Load() > r.library.Most:
		r.backlog.Window.Begin(r.backlog.High())
		fallthrough
	default:
		r.backlog.Append(p)
	}
	r.count()
	r.put(p)
}

// Skip notes a publication that no socket gets.
func (r *Recent) Skip(offset uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.Skip(offset)
}

// Prime adds what was read before the channel was live, oldest first and without gaps.
func (r *Recent) Prime(past []*fanout.Event) {
	if r == nil || len(past) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if past[0].Pub.Epoch == r.epoch && !r.asleep {
		r.backlog.Prepend(past[0].Pub.Offset-1, past)
		r.decided = r.backlog.Low()
		r.count()
	}
}

// Expire drops what is too old, and all pages.
func (r *Recent) Expire(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.app.Now().Recovery.Age; age > 0 {
		r.backlog.Expire(now.Add(-age))
	}
	// Ways that are behind read again what they still need.
	r.backlog.Forget(0)
	r.letGo()
	r.count()
}

// count updates the size in the library. The caller holds the lock.
func (r *Recent) count() {
	now := r.backlog.Bytes() + r.backlog.PageBytes()
	r.library.Bytes.Add(int64(now - r.bytes))
	r.bytes = now
}

// Next implements [fanout.Source].
func (r *Recent) Next(dst []*fanout.Event, p *fanout.Way, most int) (items []*fanout.Event, reached uint64, ok bool) {
	if p.Latest {
		return r.newest(dst, p, most)
	}
	return r.after(dst, p, most)
}

// after is Next for a way that goes through all publications.
func (r *Recent) after(dst []*fanout.Event, p *fanout.Way, most int) (items []*fanout.Event, reached uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Epoch != r.epoch {
		// The past is of another epoch. The gap between them is on its way to the shard and ends the way.
		return dst, p.Place, false
	}
	if p.Kept && p.Place < max(r.decided, r.backlog.Low()) {
		// The live frames of these are gone, so the way continues with plain ones.
		p.Plainly()
	}
	if r.bears(p) {
		dst, reached, ok = r.backlog.After(dst, p.Place, most, p)
	} else {
		r.backlog.Await(p.Place, p)
		reached = p.Place
	}
	if !ok {
		p.Cold = true
		p.Waits()
		if !r.reading {
			r.reading = r.library.Background(r.read)
		}
	}
	return dst, reached, ok
}

// bears reports whether a way may continue with a page that was read for another one: nothing may be sent to
// a client that has missed too much. If memory does not decide that, the next reading does. The caller holds
// the lock.
func (r *Recent) bears(p *fanout.Way) bool {
	if r.backlog.Covers(p.Place) || p.Foreseen() {
		return true
	}
	known, reached := r.backlog.Known(nil, p.Place)
	return p.Clear(known, reached)
}

// Distance returns the number of publications above a place up to another, and their bytes, as far as memory
// has them. ahead says that the place is above everything that arrived here.
func (r *Recent) Distance(place, to uint64) (ahead bool, items, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place > r.backlog.High() {
		return true, 0, 0
	}
	all, _ := r.backlog.Known(nil, place)
	for _, p := range all {
		if p.Pub.Offset > to {
			break
		}
		items++
		bytes += p.Bytes()
	}
	return false, items, bytes
}

// Since returns the offset above which everything in memory has its live frames.
func (r *Recent) Since() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.decided, r.backlog.Low())
}

// Leave implements [fanout.Source].
func (r *Recent) Leave(p *fanout.Way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.Leave(p)
	r.latest.leaves(p)
}
