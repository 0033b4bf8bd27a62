package past

import (
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
)

// Rewound is where a rewind begins.
type Rewound struct {
	// Place is the offset before the first publication.
	Place uint64
	// Cold: the log was read to find it.
	Cold bool
	// More: a rewind to a time reaches further back than the limit of its query. Cut: a part of it is gone,
	// or may not be seen.
	More, Cut bool
}

// Rewind finds out where a rewind begins, from memory or from the log. The query goes backwards from the
// newest publication and has a limit; Since is optional. A log that cannot be reached is asked again until
// ctx ends. Errors are those of [sight.View.Read].
func (r *Recent) Rewind(ctx context.Context, q broker.Query) (from Rewound, err error) {
	bounded := r.app.Now().Readings.Of(r.line.Name) != app.Reading{}
	if place, more, ok := r.rewound(q); ok && !bounded {
		return Rewound{Place: place, More: more}, nil
	}
	err = reaching(ctx, func() (err error) {
		from, err = r.searched(ctx, q)
		return err
	})
	return from, err
}

// searched returns where a rewind begins, from the log.
func (r *Recent) searched(ctx context.Context, q broker.Query) (from Rewound, err error) {
	from.Cold = true
	r.library.Read()
	erasures := r.Erasures()
	view, err := r.library.Log.Look(ctx, r.app, r.line.Name)
	if err != nil {
		return from, err
	}
	// If the log has nothing, everything up to this offset is gone, because it was taken before the reading.
	high := r.High()
	page, found, err := view.Back(ctx, q)
	if err != nil {
		return from, err
	}
	pubs := page.Publications
	from.More = page.More && !q.Since.IsZero()
	if !page.More && found < q.Limit {
		if from.Cut, err = view.Cuts(ctx, page, q.Since); err != nil {
			return from, err
		}
	}
	slices.Reverse(pubs)
	newest := max(page.Kept.Newest, high)
	if q.To > 0 {
		newest = min(newest, q.To)
	}
	if found > len(pubs) {
		newest = 0 // The newer part is read when the way reaches it.
	}
	from.Place = r.learn(page.Retained.Epoch, erasures, pubs, newest)
	return from, nil
}

// rewound returns where a rewind begins, if memory is enough to know.
func (r *Recent) rewound(q broker.Query) (place uint64, more, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, ok = r.backlog.Last(q.Limit, q.To)
	if q.Since.IsZero() {
		return place, false, ok
	}
	since, all := r.backlog.Since(q.Since)
	if ok && since < place {
		return place, true, true
	}
	return since, false, all
}

// learn adds the newest publications that were read for a rewind, oldest first, and returns the place before
// them. newest is the end of what was read, and erasures the value of [Recent.Erasures] before.
func (r *Recent) learn(epoch string, erasures int, pubs []*broker.Publication, newest uint64) (place uint64) {
	if len(pubs) == 0 {
		return newest
	}
	items := make([]*fanout.Event, 0, len(pubs))
	for _, pub := range pubs {
		if pub.Skipped == "" {
			items = append(items, r.line.Reread(pub))
		}
	}
	place = pubs[0].Offset - 1
	r.mu.Lock()
	var woken []*fanout.Way
	if r.epoch == epoch && r.erasures == erasures && place < r.backlog.Low() {
		woken = r.backlog.Learn(place, items, max(newest, pubs[len(pubs)-1].Offset))
		r.count()
	}
	r.mu.Unlock()
	r.wake(woken)
	return place
}
