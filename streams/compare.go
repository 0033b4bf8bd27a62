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
	// compareTimeout bounds one comparison of up to compareBatch channels.
	compareTimeout = 10 * time.Second
	compareBatch   = 128
)

// comparison compares channels of an app with the log. Any replica may answer where the channels end. It is believed only
// if it has everything that the log had after live messages may have been missed. A replica that is further behind
// could hide that the last event of a channel did not arrive.
type comparison struct {
	log    *Log
	app    *appLog
	reader *reader
	// patient says to wait for live messages that are on their way.
	patient bool
	// upset is the value of appLog.upset before the comparison, and end the end of the log after that.
	upset, end uint64
	// unknown says that the end is not known, so no replica is believed.
	unknown bool
	// lag is how long to wait for replicas that are behind.
	lag time.Duration
}

// compare looks up the newest messages of the chosen followed channels of an app, and repairs channels that are behind.
// With patient, it first waits for live messages that are on their way.
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
			// Other channels need not wait because one awaits a live message or was answered by a replica that is
			// behind.
			if !stale && !errors.Is(err, errAwaited) {
				return
			}
		}
	}
}

// retryLater schedules another comparison of the channels of an app.
func (l *Log) retryLater(a *appLog) { a.retry.Later(l.ctx, l.running.Go, a.poke) }

// newComparison begins a comparison: it finds out where the log ends.
func (l *Log) newComparison(a *appLog, patient bool) *comparison {
	c := &comparison{log: l, app: a, reader: l.reader, patient: patient, upset: a.upset.Load(), lag: staleTimeout}
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	var err error
	if feed := l.feed.conn(); !patient && feed.IsConnected() {
		// After the flush, the server knows the subscriptions, so messages stored from then on arrive live. Messages
		// stored before are in the state that the leader reports next. A new connection would cause another
		// comparison.
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

// look compares some channels. It returns errStale if the replica that answered is not believed. Channels that it shows
// to be behind are repaired nevertheless.
func (c *comparison) look(part []*follower) error {
	subjects := make([]string, 0, len(part))
	bySubject, before := map[string]*follower{}, map[string]uint64{}
	now := time.Now()
	for _, f := range part {
		subjects = append(subjects, f.subject)
		// Messages that are delivered after this are newer than the answer of the log.
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
		// Messages that are on their way would be read from the log needlessly. If the log has removed one already, a
		// gap would be reported.
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

// ends asks where the channels of subjects end, and repeats that for a while if the replica is behind. It reports whether
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
			// A replica that has none of the subjects does not tell how far it is. So the subject of the newest message
			// is added to the request: a replica that has nothing of it either is behind.
			newest, any, err := c.reader.leaderGet(ctx, c.app.stream, getRequest{LastFor: c.app.root + ">"})
			if err != nil || !any {
				return nil, err == nil, err
			}
			subjects, end, witness = append(slices.Clone(subjects), newest.subject), max(end, newest.offset), true
			continue
		}
		if c.unknown || time.Since(begun) >= c.lag {
			c.lag = 0 // the following parts do not wait again
			return found.places, false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(wait):
		}
	}
}
