package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/follow"
)

// passing reports whether an error may be gone in a moment: the connection broke, or
// the server is starting, busy or handing over.
func passing(err error) bool {
	var refused *rueidis.RedisError
	if !errors.As(err, &refused) {
		return !errors.Is(err, rueidis.ErrClosing)
	}
	m := meaningOf(err)
	return m != nil && !m.lasts
}

// attempt does what reads, again and again while nobody can answer: the servers may be starting,
// or choosing a new primary. It begins no try later than [follow.Patience] after the first.
func (l *Log) attempt(ctx context.Context, do func(ctx context.Context) error) error {
	return l.patiently(ctx, func() error { return l.try(ctx, do) })
}

// patiently is attempt for what bounds each try itself. It holds nothing while it waits.
func (l *Log) patiently(ctx context.Context, do func() error) error {
	return l.insist(ctx, time.Now().Add(follow.Patience(l.opt.PublishTimeout)), do)
}

// persist does what may be done again, until it works, its error will stay, or its time is
// over.
func (l *Log) persist(ctx context.Context, do func(ctx context.Context) error) error {
	return l.insist(ctx, time.Time{}, func() error { return l.try(ctx, do) })
}

// try does something once, within the time for that.
func (l *Log) try(ctx context.Context, do func(ctx context.Context) error) error {
	once, end := context.WithTimeout(ctx, attemptTimeout)
	err := do(once)
	end()
	l.leaveReplica(ctx, err)
	return err
}

// insist begins to do something again until a time, or for ever if that is zero.
func (l *Log) insist(ctx context.Context, until time.Time, do func() error) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := do()
		if err == nil || ctx.Err() != nil || l.ctx.Err() != nil || rueidis.IsRedisNil(err) || !passing(err) ||
			!until.IsZero() && !time.Now().Before(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-l.ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// leavePause is how long the connections stay after they were given up. Many may find out at the same
// time, and those of the first are new ones.
const leavePause = 100 * time.Millisecond

// leaveReplica gives up the connections to a server that became a replica of another.
// Behind one address that other one may answer now, while the old one keeps its
// connections and refuses what is written. On a cluster clients are told where to go.
func (l *Log) leaveReplica(ctx context.Context, err error) {
	if l.opt.Cluster || !ofReplica(err) {
		return
	}
	now, left := time.Now().UnixNano(), l.left.Load()
	if now-left < int64(leavePause) || !l.left.CompareAndSwap(left, now) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, c := range []rueidis.Client{l.pub, l.read} {
		_ = c.Do(ctx, c.B().Quit().Build()).Error() // the next command connects anew
	}
	if l.subs != nil {
		l.subs.leave("")
	}
}

// ofReplica says whether an error tells of a server that became a replica.
func ofReplica(err error) bool {
	var refused *rueidis.RedisError
	return errors.Is(err, errReplica) ||
		errors.As(err, &refused) && (strings.HasPrefix(refused.Error(), "READONLY") || strings.HasPrefix(refused.Error(), "MASTERDOWN"))
}
