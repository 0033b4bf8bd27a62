package redis

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

const (
	// auditBatch is how many silent channels are compared at a time.
	auditBatch = 256
	// comparing is how many channels are compared at the same time.
	comparing = 32
)

// verify looks whether what this process acknowledged last is still in the log.
func (l *Log) verify() {
	epochs := map[string]string{}
	for id, a := range l.apps {
		epochs[id] = a.currentEpoch()
	}
	positions := l.recent.all()
	var mu sync.Mutex
	lost := map[string]bool{}
	round := newRound(l)
	each(maps.Keys(positions), func(p place) {
		offset, k := positions[p], l.keys.channel(p.app, p.channel)
		round.try(k.live, func() error {
			r, err := l.scan(l.ctx, k, scanQuery{from: offset, most: 1})
			if err == nil && (r.lost(offset) || r.base >= offset) {
				mu.Lock()
				defer mu.Unlock()
				lost[p.app] = true
			}
			return err
		})
	})
	for id := range lost {
		if err := l.lostPart(l.ctx, l.apps[id], epochs[id]); err != nil {
			round.failed.Store(true)
		}
	}
	if round.failed.Load() {
		l.doubt.Store(true)
		l.retryLater()
	}
}

// each calls do for all of a sequence, several at a time.
func each[T any](all iter.Seq[T], do func(T)) {
	slots := make(chan struct{}, comparing)
	var wg sync.WaitGroup
	for x := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(x)
		})
	}
	wg.Wait()
}

// compare looks up the newest message of served channels and repairs those that are
// behind: all of them, or up to n that were not looked at for longest. It also keeps
// the places of silent channels.
func (l *Log) compare(n int) {
	round := newRound(l)
	for _, a := range l.apps {
		all := l.followers(a)
		if n > 0 && len(all) > n {
			sort.Slice(all, func(i, j int) bool { return all[i].audited.Load() < all[j].audited.Load() })
			all = all[:n]
		}
		each(slices.Values(all), func(f *follower) { round.try(f.keys.live, f.audit) })
	}
	if round.failed.Load() {
		l.retryLater()
	}
}

// audit compares a channel with the log.
func (f *follower) audit() error {
	f.audited.Store(time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(f.log.ctx, 5*time.Second)
	defer cancel()
	last, _, err := f.touch(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == following && last != f.last {
		f.repair()
	}
	return nil
}

// round is one look at many channels. A server that does not answer is not asked again
// in it, so that it does not keep the channels of the others waiting.
type round struct {
	log    *Log
	failed atomic.Bool

	mu   sync.Mutex
	down map[string]bool
}

func newRound(l *Log) *round { return &round{log: l, down: map[string]bool{}} }

func (r *round) try(live string, look func() error) {
	home := r.log.subs.homeOf(live)
	r.mu.Lock()
	down := r.down[home]
	r.mu.Unlock()
	if down || r.log.ctx.Err() != nil {
		return
	}
	err := look()
	if err == nil {
		return
	}
	r.failed.Store(true)
	var refused *rueidis.RedisError
	if errors.As(err, &refused) && !refused.IsLoading() && !refused.IsClusterDown() || errors.Is(err, errNotOurs) {
		return // it is the channel's own trouble
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[home] = true
}

func (l *Log) retryLater() {
	if !l.retrying.CompareAndSwap(false, true) {
		return
	}
	l.running.Go(func() {
		select {
		case <-l.ctx.Done():
		case <-time.After(time.Second):
			l.retrying.Store(false)
			l.trigger()
		}
	})
}
