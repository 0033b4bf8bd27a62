package redis

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// idle is a follower of a log that delivers nothing.
type idle struct {
	*follower
	at broker.Position
}

func (i idle) Begin(context.Context) error {
	i.Lock()
	defer i.Leave()
	i.Start(i.at, false)
	return nil
}

func (idle) End() {}

func (idle) Read(ctx context.Context) (func() follow.Found, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// alone returns a follower of a channel that begins at a position, with a sink and without a log.
func alone(t *testing.T, at broker.Position, sink broker.Sink) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	l := &Log{ctx: ctx, wake: follow.NewBell()}
	var f *follower
	l.follow = follow.NewFeed(follow.Options[arrival]{
		Context: ctx, Go: running.Go, Shards: 1, Repairs: broker.NewShare(1), RepairTimeout: time.Minute, Wake: l.trigger,
		Line: func(x *follow.Follower[arrival]) follow.Line[arrival] {
			f = &follower{Follower: x, log: l, app: &appLog{}}
			return idle{f, at}
		},
	}, &l.stats)
	t.Cleanup(func() {
		cancel()
		l.follow.Close()
		running.Wait()
	})
	if _, err := l.follow.Attach(t.Context(), "app-1", "c", "c", sink); err != nil {
		t.Fatal(err)
	}
	return f
}
