package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/follow"
)

// passing reports whether an error may disappear by itself: the connection broke, or the server is starting,
// busy or handing over.
func passing(err error) bool {
	var refused *rueidis.RedisError
	if !errors.As(err, &refused) {
		return !errors.Is(err, rueidis.ErrClosing)
	}
	m := meaningOf(err)
	return m != nil && !m.lasts
}

// attempt runs a read and retries it while no server can answer, for example because servers start or elect a
// new primary. It begins no try later than [follow.Patience] after the first.
func (l *Log) attempt(ctx context.Context, do func(ctx context.Context) error) error {
	return l.patiently(ctx, func() error { return l.try(ctx, do) })
}

// patiently is like attempt for a function that bounds each try itself. It holds no resources while it waits.
func (l *Log) patiently(ctx context.Context, do func() error) error {
	return l.insist(ctx, time.Now().Add(follow.Patience(l.opt.PublishTimeout)), do)
}

// persist runs an operation that may be repeated until it succeeds, it fails with a lasting error, or ctx
// ends.
func (l *Log) persist(ctx context.Context, do func(ctx context.Context) error) error {
	return l.insist(ctx, time.Time{}, func() error { return l.try(ctx, do) })
}

// try runs an operation once, for at most attemptTimeout.
func (l *Log) try(ctx context.Context, do func(ctx context.Context) error) error {
	once, end := context.WithTimeout(ctx, attemptTimeout)
	err := do(once)
	end()
	l.leaveReplica(ctx, err)
	return err
}

// insist retries an operation; it begins no try after until, unless that is zero.
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

// leavePause is the least time between two closings of the connections. Many callers may notice a replica at
// the same time, and the first one's reconnection must not be closed again.
const leavePause = 100 * time.Millisecond

// leaveReplica closes the connections to a server that became a replica. Behind the same address another
// server may be the primary now, while the old one keeps its connections and refuses writes. On a cluster,
// servers redirect the client instead.
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

// ofReplica reports whether an error shows that the server became a replica.
func ofReplica(err error) bool {
	var refused *rueidis.RedisError
	return errors.Is(err, errReplica) ||
		errors.As(err, &refused) && (strings.HasPrefix(refused.Error(), "READONLY") || strings.HasPrefix(refused.Error(), "MASTERDOWN"))
}
