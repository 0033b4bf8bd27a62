package hub

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
)

// found is a count with what must be counted after it.
type found struct {
	state count.Snapshot
	// saved is the place of the checkpoint, revision its revision and age the
	// time since it was written.
	saved, revision uint64
	age             time.Duration
	replay          []*broker.Publication
}

// find reads the cluster's count, or founds it.
func (c *Channel) find(ctx context.Context, k *counting) (*found, error) {
	until := time.Now().Add(anchorWait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		patient := time.Now().Before(until)
		f, err := c.findOnce(ctx, k, patient)
		wait := anchorPause
		switch {
		case errors.Is(err, kv.ErrConflict):
			// Somebody was quicker, and is not to be pressed.
			wait = rand.N(anchorPause) / 4
		case patient && (errors.Is(err, errUnanchored) || errors.Is(err, errBehind)):
		default:
			return f, err
		}
		if !c.hub.pause(wait) {
			return nil, context.Canceled
		}
	}
}

// findOnce is one attempt to find the count. Patient, it leaves a checkpoint that does not
// fit the log to those who count.
func (c *Channel) findOnce(ctx context.Context, k *counting, patient bool) (*found, error) {
	c.log.Lock()
	place, revision := c.log.place, k.revision
	c.log.Unlock()
	e, err := c.hub.opt.Counters.Get(ctx, k.key)
	if errors.Is(err, kv.ErrNotFound) {
		// Nobody counts, or nobody can find what is counted from: all begin at
		// the end of the log. Only the write proves it.
		return c.found(ctx, k, 0, place)
	}
	if err != nil {
		return nil, err
	}
	if patient && e.Revision < revision {
		return nil, errBehind
	}
	f := &found{revision: e.Revision, age: min(max(c.hub.opt.LogTime().Sub(e.Time), 0), CounterTTL)}
	err = errUnanchored
	// A checkpoint that makes no sense is replaced like one that is too old.
	if json.Unmarshal(e.Value, &f.state) == nil && c.newInterval().Restore(f.state) == nil {
		f.saved = f.state.Offset
		f.replay, err = c.after(ctx, f.state.Offset, place)
	}
	switch {
	case err == nil && len(f.replay) == 0:
		// The channel is empty. Whoever counts begins anew with its next
		// publication, which has no predecessor.
		f.state = c.newInterval().Snapshot()
	case !patient && errors.Is(err, errUnanchored):
		return c.found(ctx, k, e.Revision, place)
	}
	return f, err
}

// found begins a count at the end of the log as far as the feed has brought it, in
// place of the checkpoint with that revision, 0 for none. Who counts already may have
// begun anew after a silence, so what came after one is counted.
func (c *Channel) found(ctx context.Context, k *counting, revision, place uint64) (*found, error) {
	f := &found{state: c.newInterval().Snapshot()}
	if place > 0 {
		page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, broker.Query{NewestFirst: true, To: place, Limit: pastBases})
		if err != nil {
			return nil, err
		}
		past := page.Publications
		if len(past) > 0 && past[0].Offset < place {
			return nil, errBehind
		}
		for i := range past {
			f.replay = append(f.replay, past[len(past)-1-i])
		}
		if at := begin(past[:min(len(past), k.distance)], page.More); at != nil {
			f.state.Offset, f.state.Time = at.Offset, at.Time
		}
	}
	f.saved = f.state.Offset
	var err error
	f.revision, err = c.write(k.key, f.state, revision)
	return f, err
}

// begin returns the publication after which a count begins that nobody has saved: the
// one before a silence, or the newest. If the log is short, that is before the first
// one, which is nil. The publications are the last ones, newest first.
func begin(past []*broker.Publication, more bool) *broker.Publication {
	for i := 1; i < len(past); i++ {
		if past[i-1].Time.Sub(past[i].Time).Abs() > counterIdle {
			return past[i]
		}
	}
	if len(past) == 0 || !more && len(past) < pastBases {
		return nil
	}
	return past[0]
}

// after reads what the log has after a checkpoint, and proves that it is all. The
// publication of the checkpoint itself comes first. The feed has brought everything up
// to place.
func (c *Channel) after(ctx context.Context, offset, place uint64) ([]*broker.Publication, error) {
	var all []*broker.Publication
	bytes := 0
	q := broker.Query{From: offset, Limit: 1000}
	for {
		page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, q)
		if err != nil {
			return nil, err
		}
		if len(all)+len(page.Publications) == 0 && page.Retained.Newest > 0 {
			return nil, errUnanchored // the checkpoint is ahead of the log
		}
		all = append(all, page.Publications...)
		for _, p := range page.Publications {
			bytes += len(p.Data)
		}
		if !page.More || len(page.Publications) == 0 {
			break
		}
		if len(all) > maxReplay || bytes > maxReplayBytes {
			return nil, errUnanchored
		}
		q.From = all[len(all)-1].Offset + 1
	}
	if len(all) == 0 {
		return nil, nil
	}
	most := c.hub.opt.RetainedMessages
	if offset > 0 && all[0].Offset != offset || offset == 0 && most > 0 && len(all) >= most {
		return nil, errUnanchored
	}
	if all[len(all)-1].Offset < place {
		return nil, errBehind
	}
	return all, nil
}
