package hub

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/backlog"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// pastPage is the largest page of the log that is read for those who are behind.
	pastPage = 1000
	// pastTimeout bounds one reading.
	pastTimeout = 10 * time.Second
)

// recent is the past of one channel for those who are behind: what was published lately,
// and pages of the log below it. A goroutine reads them as long as somebody waits.
type recent struct {
	channel *Channel

	mu      rank.Mutex[rank.Past]
	backlog *backlog.Backlog[*fanout.Event, *fanout.Way]
	// epoch is the life of the log that the past is of.
	epoch   string
	reading bool
	// decided is the place above which everything in memory has the frames that it had
	// live; what was read for somebody has plain ones.
	decided uint64
	// bytes is what the hub has been told of the size.
	bytes  int
	latest latest
}

// newRecent returns the past of a channel that may be asked for it, nil for others.
func newRecent(c *Channel) *recent {
	r := c.app.Recovery
	if c.hub.opt.History == nil || !r.Enabled && !c.app.Rewind && !c.app.Snapshot(c.Name).On || pusher.KindOf(c.Name).ServerToUser() {
		return nil
	}
	limits := backlog.Limits{Items: r.MaxEvents, Bytes: r.MaxBytes}
	if !r.Enabled {
		limits = backlog.Limits{Items: c.app.Limits.MaxHistoryPage, Bytes: fanout.MaxBaseBytes}
	}
	return &recent{channel: c, backlog: backlog.New[*fanout.Event, *fanout.Way](limits)}
}

// begin forgets the past of another life, or one with a hole. What comes next follows place.
func (r *recent) begin(epoch string, place uint64) {
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
		r.channel.hub.background(func() { r.wake(woken) })
	}
}

// attach is begin for a channel that may have got publications already.
func (r *recent) attach(epoch string, place uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	items, high := r.backlog.AppendAfter(nil, max(place, r.backlog.Low()), pastPage)
	r.epoch, r.decided = epoch, place
	r.backlog.Begin(place)
	for _, p := range items {
		r.backlog.Append(p)
	}
	r.backlog.Skip(high)
	r.count()
}

// add appends what is about to be delivered.
func (r *recent) add(p *fanout.Event) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.channel.hub.recentBytes.Load() > r.channel.hub.opt.TotalRecentBytes {
		r.backlog.Window.Begin(r.backlog.High())
	}
	r.backlog.Append(p)
	r.count()
	r.put(p)
}

// skip notes a publication that no socket gets.
func (r *recent) skip(offset uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.Skip(offset)
}

// prime adds what was read of the channel before it was live, oldest first and unbroken.
func (r *recent) prime(past []*fanout.Event) {
	if r == nil || len(past) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if past[0].Pub.Epoch == r.epoch {
		r.backlog.Prepend(past[0].Pub.Offset-1, past)
		r.decided = r.backlog.Low()
		r.count()
	}
}

// expire lets go of what is old.
func (r *recent) expire(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.channel.app.Recovery.Age; age > 0 {
		r.backlog.Expire(now.Add(-age))
	}
	r.count()
}

// count tells the hub how much is kept. The caller holds the lock.
func (r *recent) count() {
	now := r.backlog.Bytes()
	r.channel.hub.recentBytes.Add(int64(now - r.bytes))
	r.bytes = now
}

// Next is what a way comes to next.
func (r *recent) Next(dst []*fanout.Event, p *fanout.Way, most int) (items []*fanout.Event, reached uint64, ok bool) {
	if p.Latest {
		return r.newest(dst, p, most)
	}
	return r.after(dst, p, most)
}

// after appends what comes next for somebody who is behind, and returns the place that
// it reaches. It reports false when the log must be read; he is woken then.
func (r *recent) after(dst []*fanout.Event, p *fanout.Way, most int) (items []*fanout.Event, reached uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dst, reached, ok = r.backlog.After(dst, p.Place, most, p)
	if !ok {
		p.Cold = true
		if !r.reading {
			r.reading = r.channel.hub.background(r.read)
		}
	}
	return dst, reached, ok
}

// distance is what lies above a place, as far as memory has it. ahead says that the place
// is above everything that came here.
func (r *recent) distance(place uint64) (ahead bool, items, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place > r.backlog.High() {
		return true, 0, 0
	}
	if !r.backlog.Covers(place) {
		return false, 0, 0
	}
	all, _ := r.backlog.AppendAfter(nil, place, r.backlog.Len())
	for _, p := range all {
		bytes += len(p.Pub.Data)
	}
	return false, len(all), bytes
}

// since is the place above which everything in memory has the frames that it had live.
func (r *recent) since() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.decided, r.backlog.Low())
}

// rewound is where a rewind begins, and the newest publication there is, if memory knows.
func (r *recent) rewound(q broker.Query) (place, head uint64, more, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	head = r.backlog.High()
	place, ok = r.backlog.Last(q.Limit, head)
	if q.Since.IsZero() {
		return place, head, false, ok
	}
	since, all := r.backlog.Since(q.Since)
	if ok && since < place {
		return place, head, true, true
	}
	return since, head, false, all
}

// learn takes the newest publications, which were read for somebody, oldest first, and
// returns the place before them. Newest is the end of what was read.
func (r *recent) learn(epoch string, pubs []*broker.Publication, newest uint64) (place, head uint64) {
	if len(pubs) == 0 {
		return newest, newest
	}
	items := make([]*fanout.Event, 0, len(pubs))
	for _, pub := range pubs {
		if pub.Skipped == "" {
			items = append(items, r.channel.Reread(pub))
		}
	}
	place, head = pubs[0].Offset-1, max(newest, pubs[len(pubs)-1].Offset)
	r.mu.Lock()
	var woken []*fanout.Way
	if r.epoch == epoch && place < r.backlog.Low() {
		woken = r.backlog.Learn(place, items, head)
		r.count()
	}
	r.mu.Unlock()
	r.wake(woken)
	return place, head
}

// Leave forgets somebody who waits no longer.
func (r *recent) Leave(p *fanout.Way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog.Leave(p)
}

// read reads pages of the log until nobody waits for one.
func (r *recent) read() {
	for {
		r.mu.Lock()
		place, ok := r.backlog.Next()
		epoch, low := r.epoch, r.backlog.Low()
		if !ok {
			r.reading = false
		}
		r.mu.Unlock()
		if !ok {
			return
		}
		woken, items := r.take(place, epoch, low)
		var tooMuch *pusher.ResumeFailure
		for _, p := range woken {
			if !p.Foresee(items) {
				continue
			}
			if tooMuch == nil {
				tooMuch = p.TooMuch()
				r.available(tooMuch)
			}
			p.Failed.Store(tooMuch)
		}
		r.wake(woken)
	}
}

// take reads the page after a place, and returns those who can go on, and what was read.
func (r *recent) take(place uint64, epoch string, low uint64) ([]*fanout.Way, []*fanout.Event) {
	c := r.channel
	ctx, cancel := context.WithTimeout(c.hub.ctx, pastTimeout)
	defer cancel()
	c.hub.opt.Metrics.recoveryReads.Inc()
	view, err := c.hub.sight().Look(ctx, c.app, c.Name)
	var page *broker.Page
	if err == nil {
		got, e := view.After(ctx, broker.Position{Epoch: epoch, Offset: place}, min(c.app.Recovery.MaxEvents+1, pastPage))
		if err = e; e == nil {
			page = &got.Page
		}
	}
	var failed *pusher.ResumeFailure
	if err != nil {
		failed = r.failure(epoch, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.epoch != epoch:
		return r.backlog.Failed(nil), nil
	case err != nil && (errors.Is(err, broker.ErrPositionExpired) || errors.Is(err, broker.ErrPositionUnknown)):
		// Those who are further on may be better off.
		return fail(r.backlog.Failed(func(p uint64) bool { return p <= place }), failed), nil
	case err != nil:
		return fail(r.backlog.Failed(nil), failed), nil
	}
	items := make([]*fanout.Event, 0, len(page.Publications))
	through := low
	for _, pub := range page.Publications {
		if pub.Skipped == "" {
			items = append(items, c.Reread(pub))
		}
		through = max(through, pub.Offset)
	}
	if page.More {
		through = page.Publications[len(page.Publications)-1].Offset
	}
	woken := r.backlog.Read(place, items, through)
	r.count()
	return woken, items
}

func fail(woken []*fanout.Way, why *pusher.ResumeFailure) []*fanout.Way {
	for _, p := range woken {
		p.Failed.Store(why)
	}
	return woken
}

// wake lets shards go on with those who waited.
func (r *recent) wake(woken []*fanout.Way) {
	for _, p := range woken {
		p.Wake()
	}
}

// failure says why what comes after a position cannot be had.
func (r *recent) failure(epoch string, err error) *pusher.ResumeFailure {
	c := r.channel
	f := &pusher.ResumeFailure{Channel: c.Name, Expected: epoch, Current: c.life(), Reason: err.Error()}
	switch {
	case errors.Is(err, broker.ErrEpochChanged):
		f.Code = pusher.StreamReset
	case errors.Is(err, broker.ErrPositionExpired):
		f.Code = pusher.PositionExpired
	case errors.Is(err, broker.ErrPositionUnknown):
		f.Code = pusher.ContinuityUnverifiable
	default:
		f.Code, f.Reason = pusher.PersistenceUnavailable, "the log cannot be read at the moment"
		c.hub.failures.Warn(c.hub.opt.Logger, "recovering", "reading the past of a channel failed", "app", c.app.ID, "channel", c.Name, "error", err)
		return f
	}
	r.available(f)
	return f
}

// available adds to a failure what the client can have, as far as that can be found out.
func (r *recent) available(f *pusher.ResumeFailure) {
	c := r.channel
	ctx, cancel := context.WithTimeout(c.hub.ctx, pastTimeout)
	defer cancel()
	view, err := c.hub.sight().Look(ctx, c.app, c.Name)
	if err != nil {
		return
	}
	if seen, _, err := view.State(ctx); err == nil {
		f.Oldest, f.Newest = seen.Oldest, seen.Newest
	}
}
