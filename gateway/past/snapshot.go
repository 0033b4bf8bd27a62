package past

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/backlog"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
)

const (
	// snapshotValues and snapshotBytes bound the values of one channel. The app may set another number of
	// values.
	snapshotValues = 10_000
	snapshotBytes  = 64 << 20
	// snapshotReads bounds the publications that are searched for them.
	snapshotReads = 1_000_000
)

// latest is the snapshot of a channel: the newest publication of each conflation value. The lock of the past
// guards it. It is made from the log when it is first needed, and updated with each publication.
type latest struct {
	fold *backlog.Latest[*fanout.Event]
	// complete is set when the past was read into it.
	complete bool
	// waiting are the ways that want it compared with the log, and working says that a goroutine does that.
	waiting map[*fanout.Way]struct{}
	working bool
	// walking are the ways for which it is being made, or that go through it. since is the lowest head of
	// these and of the waiting ones: what is above it belongs to their subscriptions and must not be left
	// out.
	walking map[*fanout.Way]struct{}
	since   uint64
	// idle is when the last of them left.
	idle time.Time
	// short is set when values are missing because there was no room, and given counts how often the snapshot
	// was dropped for that.
	short bool
	given int
	// values and bytes are the sizes of which the library knows, and kept says that it has the channel in
	// held.
	values, bytes int
	kept          bool
}

// forget drops the snapshot. The caller holds the lock.
func (r *Recent) forget() {
	r.latest.fold, r.latest.complete, r.latest.short = nil, false, false
	r.countLatest()
}

// values returns the bound of the number of values.
func (r *Recent) values() int {
	if n := r.app.Now().Snapshot(r.line.Name).MaxValues; n > 0 {
		return n
	}
	return snapshotValues
}

// put adds a publication that is about to be delivered. The caller holds the lock.
func (r *Recent) put(p *fanout.Event) {
	if r.latest.fold == nil {
		return
	}
	r.latest.fold.Put(r.valueOf(p), p)
	if more := r.latest.fold.Bytes() - r.latest.bytes; more > 0 && !r.library.take(r.app.ID, more) {
		r.squeeze()
	} else {
		r.latest.bytes += max(more, 0)
	}
	r.countLatest()
}

// valueOf returns the conflation value of a publication, also in a channel without delta compression.
func (r *Recent) valueOf(p *fanout.Event) string {
	rules := r.line.Rules()
	if rules.Keyed && p.Under(rules) {
		return p.Key
	}
	return count.Value(&p.Pub.Event, delta.ShapeOf(p.Pub.Data), rules.Path)
}

// countLatest updates the sizes in the library. The bytes must not exceed what take has granted. The caller
// holds the lock.
func (r *Recent) countLatest() {
	values, bytes, there := 0, 0, r.latest.fold != nil
	if there {
		values, bytes = r.latest.fold.Len(), r.latest.fold.Bytes()
	}
	r.library.Values.Add(int64(values - r.latest.values))
	if bytes != r.latest.bytes {
		r.library.take(r.app.ID, bytes-r.latest.bytes)
	}
	if there != r.latest.kept {
		r.library.keep(r, there)
	}
	r.latest.values, r.latest.bytes, r.latest.kept = values, bytes, there
}

// newest appends the next publications of the snapshot for a way, and returns the place that they reach. It
// reports false if the snapshot must be made or compared with the log first. The way is woken then.
func (r *Recent) newest(dst []*fanout.Event, p *fanout.Way, most int) (items []*fanout.Event, reached uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Epoch != r.epoch {
		return dst, p.Place, false // as in [Recent.after]
	}
	r.latest.joins(p)
	if !p.Fresh || r.latest.fold == nil {
		if r.latest.waiting == nil {
			r.latest.waiting = map[*fanout.Way]struct{}{}
		}
		r.latest.waiting[p] = struct{}{}
		delete(r.latest.walking, p)
		if !r.latest.working {
			r.latest.working = r.library.Background(r.refresh)
		}
		return dst, p.Place, false
	}
	r.walks(p)
	dst, reached, p.Ending = r.latest.fold.AppendAfter(dst, p.Place, most)
	return dst, reached, true
}

// refresh compares the snapshot with the log for all waiting ways, until none waits.
func (r *Recent) refresh() {
	for {
		r.mu.Lock()
		waiting := r.latest.waiting
		r.latest.waiting = nil
		if len(waiting) == 0 {
			r.latest.working = false
			r.mu.Unlock()
			return
		}
		for p := range waiting {
			r.walks(p)
		}
		r.mu.Unlock()
		err := r.compareAtLast()
		var failed *pusher.ResumeFailure
		if err != nil {
			failed = r.Failure(r.life(), err)
		}
		r.mu.Lock()
		short := r.latest.short
		woken := make([]*fanout.Way, 0, len(waiting))
		for p := range waiting {
			p.Fresh = true
			if failed != nil {
				p.Failed.Store(failed)
			}
			woken = append(woken, p)
		}
		r.mu.Unlock()
		if (short || errors.Is(err, errCramped)) && r.library.Cramped != nil {
			r.library.Cramped(r.app.ID, r.line.Name)
		}
		r.wake(woken)
	}
}

// compareAtLast repeats compare while the snapshot is forgotten meanwhile or the log cannot be reached.
func (r *Recent) compareAtLast() error {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	return reaching(ctx, func() error {
		for {
			err := r.compare()
			switch {
			case !errors.Is(err, errBegunAnew):
				return err
			case !r.awaited():
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
		}
	})
}

// awaited reports whether a way waits for the snapshot or goes through it.
func (r *Recent) awaited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest.busy()
}

// errBegunAnew: the fold was forgotten meanwhile, in the same epoch.
var errBegunAnew = errors.New("past: the snapshot is begun anew")

// compare reads the past of the channel if that was not done yet, and drops what the log does not have any
// more.
func (r *Recent) compare() error {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	view, err := r.library.Log.Look(ctx, r.app, r.line.Name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	high, epoch, complete, given := r.backlog.High(), r.epoch, r.latest.complete, r.latest.given
	if high == math.MaxInt64 {
		r.mu.Unlock()
		return nil // The channel is not followed any more.
	}
	if r.latest.fold == nil {
		r.latest.fold = backlog.NewLatest[*fanout.Event](backlog.Limits{Items: r.values(), Bytes: snapshotBytes})
		r.countLatest()
	}
	fold := r.latest.fold
	r.mu.Unlock()
	seen, _, err := view.State(ctx)
	if err != nil {
		return err
	}
	found := finding{whole: true}
	defer func() { r.library.take(r.app.ID, -found.room) }()
	if !complete && seen.Messages > 0 && high > 0 {
		if err = r.look(view, high, &found); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.epoch != epoch:
		return broker.ErrEpochChanged
	case r.latest.given != given:
		return errCramped
	case r.latest.fold != fold:
		return errBegunAnew
	}
	if !complete {
		fold.Fill(found.past, found.whole)
		r.latest.complete, r.latest.short = true, r.latest.short || found.cramped
		r.latest.bytes, found.room = r.latest.bytes+found.room, 0
	}
	oldest := seen.Oldest
	if seen.Messages == 0 {
		oldest = high + 1
	}
	fold.Cut(oldest)
	r.countLatest()
	return nil
}

// finding is what was read for a snapshot.
type finding struct {
	past []backlog.Old[*fanout.Event]
	// room is what the library granted for it, in bytes.
	room int
	// whole is set if the whole log was searched, and cramped if the search ended because there was no room.
	whole, cramped bool
}

// look finds the newest publication of each value up to the offset high, newest first.
func (r *Recent) look(view *sight.View, high uint64, found *finding) error {
	limit := r.values()
	known := map[string]bool{}
	q := broker.Query{NewestFirst: true, To: high, Limit: pageSize}
	found.whole = false
	for seen := 0; seen < snapshotReads && len(known) < limit; {
		ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
		page, err := view.Read(ctx, q)
		cancel()
		if err != nil {
			return err
		}
		r.library.Read()
		var fresh []backlog.Old[*fanout.Event]
		for _, pub := range page.Publications {
			seen++
			if pub.Skipped != "" {
				continue
			}
			p := r.line.NewEvent(pub)
			if key := r.valueOf(p); !known[key] {
				known[key] = true
				fresh = append(fresh, backlog.Old[*fanout.Event]{Key: key, Item: p})
			}
		}
		if !r.fits(found, fresh) {
			return nil
		}
		n := len(page.Publications)
		if !page.More || n == 0 || page.Publications[n-1].Offset <= 1 {
			found.whole = true
			return nil
		}
		q.To = page.Publications[n-1].Offset - 1
	}
	return nil
}

// Partial reports whether the snapshot lacks values.
func (r *Recent) Partial() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest.fold == nil || r.latest.fold.Partial()
}
