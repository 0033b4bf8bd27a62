package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/follow"
)

const (
	// auditPatience is how long an audit waits for live messages that are on their way.
	auditPatience = 300 * time.Millisecond
	// compareTimeout is how long one look at a part of the channels may take, and compareBatch how many
	// channels that part has.
	compareTimeout = 10 * time.Second
	compareBatch   = 128
)

// comparison compares channels of an app with the log. Any copy of the log answers for where they end, and
// is believed if it has all that the log had after live messages may have been missed: one that ends where a
// channel was delivered would hide that its last event did not come.
type comparison struct {
	log    *Log
	app    *appLog
	reader *reader
	// patient waits for what is on its way.
	patient bool
	// upset is how often the app had been upset before, and end how far the log reached after that.
	upset, end uint64
	// unknown says that the end is not known, so that no copy is believed.
	unknown bool
	// lag is how long copies that are behind are still waited for.
	lag time.Duration
}

// compare looks up the newest message of those of an app's served channels that are chosen,
// and repairs those that are behind. A patient one waits for what is on its way.
func (l *Log) compare(a *appLog, choose func([]*follow.Follower[arrival]) []*follow.Follower[arrival], patient bool) {
	if !a.open.Load() {
		return
	}
	all := linesOf(choose(l.follow.Of(a.opt.ID)))
	if len(all) == 0 {
		return
	}
	c := l.newComparison(a, patient)
	for len(all) > 0 && l.ctx.Err() == nil {
		part := all[:min(compareBatch, len(all))]
		all = all[len(part):]
		err := c.look(part)
		if err == nil {
			continue
		}
		l.opt.Logger.Debug("comparing channels with the log failed", "app", a.opt.ID, "error", err)
		if stale := errors.Is(err, errStale); !stale || !patient {
			l.retryLater(a) // an audit comes again by itself
			// Who is awaited, or answered by a copy that is behind, holds up nobody else.
			if !stale && !errors.Is(err, errAwaited) {
				return
			}
		}
	}
}

// retryLater has an app's channels compared again.
func (l *Log) retryLater(a *appLog) { a.retry.Later(l.ctx, l.running.Go, a.poke) }

// newComparison finds out how far the log reaches.
func (l *Log) newComparison(a *appLog, patient bool) *comparison {
	c := &comparison{log: l, app: a, reader: l.reader, patient: patient, upset: a.upset.Load(), lag: staleTimeout}
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	var err error
	if feed := l.feed.conn(); !patient && feed.IsConnected() {
		// What is stored after the server knows of the subscriptions arrives live. What was stored before
		// is what the leader has then. A new connection is another reason to compare.
		err = feed.FlushWithContext(ctx)
	}
	c.end = a.known.high.Load()
	if err == nil && a.copies.Load() > 1 {
		info, failed := l.streamInfo(ctx, a)
		if err = failed; err == nil {
			c.end = max(c.end, info.State.LastSeq)
		}
	}
	if err != nil {
		l.opt.Logger.Debug("how far the log reaches cannot be found out", "app", a.opt.ID, "error", err)
	}
	c.unknown = err != nil
	return c
}

// look compares some channels. It fails with errStale if who answered is not believed; then those that are
// behind are repaired all the same.
func (c *comparison) look(part []*follower) error {
	subjects := make([]string, 0, len(part))
	bySubject, before := map[string]*follower{}, map[string]uint64{}
	now := time.Now()
	for _, f := range part {
		subjects = append(subjects, f.subject)
		// What is delivered after the log was asked is newer than its answer.
		bySubject[f.subject], before[f.subject] = f, f.seen().offset
		f.Auditing(now)
	}
	ctx, cancel := context.WithTimeout(c.log.ctx, compareTimeout)
	defer cancel()
	got, believed, err := c.ends(ctx, subjects)
	if err != nil {
		return err
	}
	behind := func(m place) bool { f := bySubject[m.subject]; return f != nil && f.behind(m.offset) }
	if c.patient && slices.ContainsFunc(got, behind) {
		// What is on its way would be read from the log without need, and a gap be
		// told if the log has removed it already.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(auditPatience):
		}
	}
	for _, m := range got {
		f := bySubject[m.subject]
		switch {
		case f == nil:
			continue
		case believed:
			f.catchUp(m.offset, before[m.subject], c.upset)
		default:
			f.catchUp(m.offset, 0, 0)
		}
		delete(bySubject, m.subject)
	}
	if !believed {
		return errStale
	}
	return c.log.compareEmpty(ctx, c.app, bySubject, c.upset)
}

// ends asks where the channels of subjects end, and a copy that is behind again for a while. It says whether
// the answer is believed.
func (c *comparison) ends(ctx context.Context, subjects []string) (got []place, believed bool, err error) {
	begun, end, witness := time.Now(), c.end, false
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		found, err := c.reader.places(ctx, c.app.stream, subjects)
		if err != nil {
			return nil, false, err
		}
		switch {
		case found.cut, c.unknown:
		case c.app.copies.Load() < 2, found.upTo >= end:
			return found.places, true, nil
		case len(found.places) == 0 && !witness:
			// Who has nothing of what is asked for does not say how far he is. Of the newest
			// message he has something, unless he is behind.
			newest, any, err := c.reader.leaderGet(ctx, c.app.stream, getRequest{LastFor: c.app.root + ">"})
			if err != nil || !any {
				return nil, err == nil, err
			}
			subjects, end, witness = append(slices.Clone(subjects), newest.subject), max(end, newest.offset), true
			continue
		}
		if c.unknown || time.Since(begun) >= c.lag {
			c.lag = 0 // others are not waited for as well
			return found.places, false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(wait):
		}
	}
}
