package redis

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
)

// comparing is how many channels are compared concurrently.
const comparing = 32

// verify checks whether the events that this process acknowledged are still in the log.
func (l *Log) verify() {
	epochs := map[string]string{}
	for id, a := range l.apps.All() {
		if a.open.Load() {
			epochs[id] = a.currentEpoch()
		}
	}
	positions := l.recent.all()
	var mu sync.Mutex
	lost := map[string]bool{}
	round := newRound(l)
	each(maps.Keys(positions), comparing, func(p place) {
		offset, k := positions[p], l.keys.channel(p.app, p.channel)
		round.try(k.live, func() error {
			r, err := l.scan(l.ctx, k, scanQuery{from: offset, most: 1, places: true})
			if err == nil && (r.lost(offset) || r.base >= offset) {
				mu.Lock()
				defer mu.Unlock()
				lost[p.app] = true
			}
			return err
		})
	})
	for id := range lost {
		if err := l.lostPart(l.ctx, l.apps.Of(id), epochs[id]); err != nil {
			round.failed.Store(true)
		}
	}
	if round.failed.Load() {
		l.doubt.Store(true)
		l.retryLater()
	}
}

// each calls do for each value of a sequence, up to n concurrently, and waits for all.
func each[T any](all iter.Seq[T], n int, do func(T)) {
	slots := make(chan struct{}, n)
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

// compare compares the chosen channels with the log and repairs those that are behind. It also keeps the
// places of silent channels from expiring.
func (l *Log) compare(choose func([]*follow.Follower[arrival]) []*follow.Follower[arrival]) {
	round := newRound(l)
	for _, a := range l.apps.All() {
		each(slices.Values(choose(l.follow.Of(a.opt.ID))), comparing, func(f *follow.Follower[arrival]) {
			f.Auditing(time.Now()) // before the check, so that later misses count
			if !round.try(f.Key, f.Line().(*follower).audit) {
				f.Miss()
			}
		})
	}
	if round.failed.Load() {
		l.retryLater()
	}
}

// audit compares a channel with the log. It starts a repair if the log has newer entries.
func (f *follower) audit() error {
	ctx, cancel := context.WithTimeout(f.log.ctx, 5*time.Second)
	defer cancel()
	f.Lock()
	grain := 1
	switch {
	case f.void && time.Since(f.since) > voidPatience:
		grain = voidGrain
	case f.void:
		grain = 0
	}
	f.Unlock()
	here, err := f.touch(ctx, grain)
	if err != nil {
		return err
	}
	f.Lock()
	defer f.Unlock()
	switch {
	case f.Repairing():
		f.Miss() // the repair may have read the end before the newest entry was stored
	case f.Following() && f.void && here.isVoid():
		if f.gone = false; here.last > f.At().Offset {
			f.Stand(here.last)
		}
	case f.Following() && here.last != f.At().Offset:
		f.Repair(follow.Read)
	case f.Following():
		f.gone = false
	}
	return nil
}

// round is one check of many channels. A server that did not answer is not asked again in the same round, so
// that it does not delay the channels of others.
type round struct {
	log    *Log
	failed atomic.Bool

	mu   rank.Mutex[rank.RedisRound]
	down map[string]bool
}

func newRound(l *Log) *round { return &round{log: l, down: map[string]bool{}} }

// try checks a channel unless its server is down, and reports whether that succeeded.
func (r *round) try(live string, look func() error) bool {
	home := r.log.subs.homeOf(live)
	r.mu.Lock()
	down := r.down[home]
	r.mu.Unlock()
	if down || r.log.ctx.Err() != nil {
		return false
	}
	err := look()
	if err == nil {
		return true
	}
	r.failed.Store(true)
	m, refused := meaningOf(err), (*rueidis.RedisError)(nil)
	if errors.As(err, &refused) && (m == nil || m.lasts || m.slot) || errors.Is(err, errNotOurs) {
		return false // the error concerns this channel only
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[home] = true
	return false
}

// retryLater triggers another comparison a second later.
func (l *Log) retryLater() { l.retry.Later(l.ctx, l.running.Go, l.trigger) }
