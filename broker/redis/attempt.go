package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// readTimeout bounds a reading with its repetitions.
const readTimeout = 5 * time.Second

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

// attempt is persist within the time for a reading.
func (l *Log) attempt(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return l.persist(ctx, do)
}

// persist does what may be done again, until it works, its error will stay, or its time is
// over.
func (l *Log) persist(ctx context.Context, do func(ctx context.Context) error) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		try, end := context.WithTimeout(ctx, attemptTimeout)
		err := do(try)
		end()
		l.leaveReplica(ctx, err)
		if err == nil || ctx.Err() != nil || l.ctx.Err() != nil || rueidis.IsRedisNil(err) || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// leaveReplica gives up the connections to a server that became a replica of another.
// Behind one address that other one may answer now, while the old one keeps its
// connections and refuses what is written. On a cluster clients are told where to go.
func (l *Log) leaveReplica(ctx context.Context, err error) {
	var refused *rueidis.RedisError
	if l.opt.Cluster || !errors.As(err, &refused) ||
		!strings.HasPrefix(refused.Error(), "READONLY") && !strings.HasPrefix(refused.Error(), "MASTERDOWN") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, c := range []rueidis.Client{l.pub, l.read} {
		_ = c.Do(ctx, c.B().Quit().Build()).Error() // the next command connects anew
	}
	l.subs.leave("")
}
