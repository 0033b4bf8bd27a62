package count

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

const (
	// anchorWait is how long another gateway has to replace a checkpoint that is older than the log.
	anchorWait = 400 * time.Millisecond
	// anchorPause is the time between two attempts while the log and the checkpoint do not fit together.
	anchorPause = anchorWait / 8
	// pastBegin is the number of publications in which the beginning of an unsaved count is searched.
	pastBegin = 16
	// maxReplay and maxReplayBytes bound the publications that are counted from the log, all of which are in
	// memory meanwhile.
	maxReplay      = 10_000
	maxReplayBytes = 16 << 20
)

var (
	// errUnanchored: the log does not reach back to the checkpoint.
	errUnanchored = errors.New("the checkpoint is older than the log")
	// errBehind: the answering replica does not have what is known here.
	errBehind = errors.New("the replica that answered is behind")
)

// lookUpAgain looks the count up in the background, after a pause.
func (l *life) lookUpAgain(after time.Duration) {
	if !l.cluster.Go(func() {
		if after > 0 && !l.cluster.pause(after) {
			return
		}
		// Many channels may have lost their counts at once.
		select {
		case l.cluster.tasks <- struct{}{}:
			defer func() { <-l.cluster.tasks }()
		case <-l.cluster.Done.Done():
		}
		ctx, cancel := l.cluster.timeout()
		defer cancel()
		l.lookUp(ctx)
	}) {
		l.m.Unanswered(l.cluster.Now())
	}
}

// lookUp looks the count up and begins to count by it. The caller does not hold the lock.
func (l *life) lookUp(ctx context.Context) {
	err := l.follow()
	var a Answer
	var past []*broker.Publication
	if err == nil {
		a, past, err = l.find(ctx)
	}
	past = slices.DeleteFunc(past, func(p *broker.Publication) bool { return p.Epoch != l.epoch })
	for _, p := range past {
		part, value := l.channel.Part(p)
		a.Past = append(a.Past, Publication{p.Offset, p.Prev, p.Time, value, part != Tracked})
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	switch {
	case l.over() || !l.m.asked:
	case err != nil:
		l.failed("looking up the count", err)
		l.m.Unanswered(l.cluster.Now())
		l.act(0)
	default:
		counted, e := l.m.Found(a, l.cluster.moment())
		for i, full := range counted {
			l.channel.Past(past[i], full)
		}
		l.act(e)
	}
}

// find reads the cluster's count, or begins one, and reads the publications that must be counted after it.
// For a short time it retries if the checkpoint does not fit the log.
func (l *life) find(ctx context.Context) (Answer, []*broker.Publication, error) {
	until := time.Now().Add(anchorWait)
	for {
		if err := ctx.Err(); err != nil {
			return Answer{}, nil, err
		}
		patient := time.Now().Before(until)
		a, past, err := l.findOnce(ctx, patient)
		wait := anchorPause
		switch {
		case errors.Is(err, kv.ErrConflict):
			// Another gateway was faster.
			wait = rand.N(anchorPause) / 4
		case patient && (errors.Is(err, errUnanchored) || errors.Is(err, errBehind)):
		default:
			return a, past, err
		}
		if !l.cluster.pause(wait) {
			return Answer{}, nil, context.Canceled
		}
	}
}

// findOnce is one attempt. If patient is set, it leaves a checkpoint that does not fit the log to the
// gateways that count.
func (l *life) findOnce(ctx context.Context, patient bool) (a Answer, past []*broker.Publication, err error) {
	l.lock.Lock()
	brought, revision := l.m.brought, l.m.revision
	l.lock.Unlock()
	e, err := l.cluster.Bucket.Get(ctx, l.key)
	if errors.Is(err, kv.ErrNotFound) {
		// No gateway counts, or none can find the beginning: all begin at the end of the log. Only the write
		// proves that there is no checkpoint.
		return l.start(ctx, 0, brought)
	}
	if err != nil {
		return a, nil, err
	}
	if patient && e.Revision < revision {
		return a, nil, errBehind
	}
	a.Revision, a.Age = e.Revision, min(max(l.cluster.LogTime().Sub(e.Time), 0), TTL)
	err = errUnanchored
	// An invalid checkpoint is replaced like one that is too old.
	if json.Unmarshal(e.Value, &a.State) == nil && a.State.validate() == nil {
		a.Saved = a.State.Offset
		past, err = l.after(ctx, a.Saved, brought)
	}
	switch {
	case err == nil && len(past) == 0:
		// The channel is empty. The count begins with its next publication, which has no predecessor.
		a.State = l.m.settings.interval().Snapshot()
	case !patient && errors.Is(err, errUnanchored):
		return l.start(ctx, e.Revision, brought)
	}
	return a, past, err
}

// start begins a count at the end of the log, as far as the feed has brought it. It replaces the checkpoint
// with that revision, 0 for none. Gateways that count already may have started again after a silence, so
// everything after the last silence is counted.
func (l *life) start(ctx context.Context, revision, brought uint64) (a Answer, past []*broker.Publication, err error) {
	a.State = l.m.settings.interval().Snapshot()
	if brought > 0 {
		page, err := l.read(ctx, broker.Query{NewestFirst: true, To: brought, Limit: pastBegin})
		if err != nil {
			return a, nil, err
		}
		past = page.Publications
		if len(past) > 0 && past[0].Offset < brought {
			return a, nil, errBehind
		}
		if at := begin(past[:min(len(past), l.m.distance)], page.More); at != nil {
			a.State.Offset, a.State.Time = at.Offset, at.Time
		}
		slices.Reverse(past)
	}
	a.Saved = a.State.Offset
	a.Revision, err = l.cluster.write(l.key, a.State, revision)
	return a, past, err
}

// begin returns the publication after which an unsaved count begins: the one before a silence, or the newest.
// nil means before the first one, if the log is short. past are the last publications, newest first.
func begin(past []*broker.Publication, more bool) *broker.Publication {
	for i := 1; i < len(past); i++ {
		if past[i-1].Time.Sub(past[i].Time).Abs() > idle {
			return past[i]
		}
	}
	if len(past) == 0 || !more && len(past) < pastBegin {
		return nil
	}
	return past[0]
}

// after reads what the log has from the publication of a checkpoint on, which comes first, and verifies that
// nothing is missing. The feed has brought everything up to brought.
func (l *life) after(ctx context.Context, offset, brought uint64) ([]*broker.Publication, error) {
	var all []*broker.Publication
	bytes := 0
	q := broker.Query{From: offset, Limit: 1000}
	for {
		page, err := l.read(ctx, q)
		if err != nil {
			return nil, err
		}
		if len(all)+len(page.Publications) == 0 && page.Retained.Newest > 0 {
			return nil, errUnanchored // the checkpoint is ahead of the log
		}
		all = append(all, page.Publications...)
		for _, p := range page.Publications {
			bytes += p.Bytes()
		}
		if !page.More || len(page.Publications) == 0 {
			break
		}
		if len(all) > maxReplay || bytes > maxReplayBytes {
			return nil, errUnanchored
		}
		q.From = all[len(all)-1].Offset + 1
	}
	most := l.m.settings.Retained
	switch {
	case len(all) == 0:
		return nil, nil
	case offset > 0 && all[0].Offset != offset, offset == 0 && most > 0 && len(all) >= most:
		return nil, errUnanchored
	case all[len(all)-1].Offset < brought:
		return nil, errBehind
	}
	return all, nil
}

func (l *life) read(ctx context.Context, q broker.Query) (*broker.Page, error) {
	return l.cluster.History.Read(ctx, l.app, l.name, q)
}
