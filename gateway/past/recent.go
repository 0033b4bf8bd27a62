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
	// pageSize is the largest page of the log that is read for those who are behind.
	pageSize = 1000
)

// Recent is the past of one channel for those who are behind: what was published lately,
// and pages of the log below it. A goroutine reads them as long as somebody waits.
type Recent struct {
	line    *fanout.Line
	app     *app.App
	library *Library
	// life tells the present life of the log.
	life func() string

	mu      rank.Mutex[rank.Past]
	backlog *backlog.Backlog[*fanout.Event, *fanout.Way]
	// epoch is the life of the log that the past is of.
	epoch   string
	reading bool
	// asleep: nobody may have anything of the past, so nothing is kept. [Recent.Review] ends that.
	asleep bool
	// decided is the place above which everything in memory has the frames that it had
	// live; what was read for somebody has plain ones.
	decided uint64
	// erasures counts how often something was erased: what somebody began to read before the last
	// time may have what exists no more.
	erasures int
	// bytes is what the library has been told of the size.
	bytes  int
	latest latest
	// under are the rules under which the snapshot is made.
	under rules
	looks looks
}

// New returns the past of a channel, nil if there never is anything of it to be had. What apps let their
// subscribers have may change while the channel is followed.
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

// Begin forgets the past of another life, or one with a hole. What comes next follows place.
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
		// A shard may be busy, and the caller holds the lock of the channel.
		r.library.Background(func() { r.wake(woken) })
	}
}

// Attach is begin for a channel that may have got publications already.
func (r *Recent) Attach(epoch string, place uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// What the window has let go of meanwhile is read when somebody asks for it.
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

// Add appends what is about to be delivered.
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

// Prime adds what was read of the channel before it was live, oldest first and unbroken.
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

// Expire lets go of what is old.
func (r *Recent) Expire(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.app.Now().Recovery.Age; age > 0 {
		r.backlog.Expire(now.Add(-age))
	}
	// Who is behind reads again what is still needed.
	r.backlog.Forget(0)
	r.letGo()
	r.count()
}

// count tells the library how much is kept. The caller holds the lock.
func (r *Recent) count() {
	now := r.backlog.Bytes() + r.backlog.PageBytes()
	r.library.Bytes.Add(int64(now - r.bytes))
	r.bytes = now
}

// Next is what a way comes to next.
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
		// What is here is of another life. The gap between them is on its way to the shard.
		return dst, p.Place, false
	}
	if p.Kept && p.Place < max(r.decided, r.backlog.Low()) {
		// The frames that it would have got are gone: it goes on with plain ones.
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

// bears says whether a way may go on with a page that was read for another one: nothing may be sent on one on which
// more lies than may have been missed. Where that cannot be seen here, whoever reads the log finds out. The lock is held.
func (r *Recent) bears(p *fanout.Way) bool {
	if r.backlog.Covers(p.Place) || p.Foreseen() {
		return true
	}
	known, reached := r.backlog.Known(nil, p.Place)
	return p.Clear(known, reached)
}

// Distance is what lies above a place up to another one, as far as memory has it. ahead says
// that the place is above everything that came here.
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

// Since is the place above which everything in memory has the frames that it had live.
func (r *Recent) Since() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.decided, r.backlog.Low())
}

// Leave forgets somebody who waits no longer.
func (r *Recent) Leave(p *fanout.Way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.Leave(p)
	r.latest.leaves(p)
}
