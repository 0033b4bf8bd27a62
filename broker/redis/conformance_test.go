package redis

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m,
		// The client closes connections to servers that left the cluster five seconds later, even after the
		// client itself was closed.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
		// Closing does not wait for the client's pause before it requests the slots again, either.
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

func open(t *testing.T, url string, cluster bool, change ...func(*Options)) *Log {
	t.Helper()
	opt := Options{
		URL: Secret(url), Cluster: cluster, AuditInterval: 200 * time.Millisecond,
		Apps: []AppOptions{{ID: "app-1", MaxMessages: 100}, {ID: "app.2", MaxMessages: 100}},
	}
	for _, c := range change {
		c(&opt)
	}
	l, err := Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("single", func(t *testing.T) {
		brokertest.Run(t, func(t *testing.T) brokertest.Backend {
			return backendOf(t, redisserver.Start(t, "--appendonly", "yes").URL(), false)
		})
	})
	t.Run("cluster", func(t *testing.T) {
		c := redisserver.StartCluster(t)
		brokertest.Run(t, func(t *testing.T) brokertest.Backend {
			c.Empty()
			return backendOf(t, c.URL(), true)
		})
	})
}

func backendOf(t *testing.T, url string, cluster bool) brokertest.Backend {
	gate := &fault.Gate{}
	l := open(t, url, cluster, func(o *Options) {
		o.FeedBytes = 256 << 10
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return gate.Wrap(c), nil
		}
	})
	return brokertest.Backend{
		Probe: brokertest.Probe{
			Attached: func() int { return l.Stats().Attached }, FeedBytes: 256 << 10,
			Repaired: func() uint64 { return l.Stats().Repaired }, Retry: l.retryLater, Stall: gate.Shut,
			Repairs: l.repairs.Load, RepairsAtOnce: 8,
			Doubts: map[string]func(app, channel string){"missed": func(app, channel string) {
				f := followerFor(l, app, channel)
				f.Lock()
				defer f.Unlock()
				if f.Following() {
					f.Repair(follow.Read)
				}
			}},
		},
		Log: l, Apps: [2]string{"app-1", "app.2"}, MaxMessages: 100, MaxEventBytes: 64 << 10,
		Second: func(t *testing.T) broker.Log { return open(t, url, cluster) },
		Reopen: func(t *testing.T) broker.Log {
			_ = l.Close()
			return open(t, url, cluster)
		},
		Evict: func(t *testing.T, app, channel string) {
			// Expiry removes the stream, and leaves the hash for longer.
			err := l.pub.Do(t.Context(), l.pub.B().Del().Key(l.keys.channel(app, channel).stream).Build()).Error()
			if err != nil {
				t.Fatal(err)
			}
		},
	}
}

// followerFor returns the follower of an attached channel.
func followerFor(l *Log, app, channel string) *follower {
	for _, f := range l.follow.Of(app) {
		if f.Channel == channel {
			return f.Line().(*follower)
		}
	}
	panic("nobody follows " + channel)
}

func TestLargePages(t *testing.T) {
	brokertest.LargePages(t, open(t, redisserver.Start(t).URL(), false, func(o *Options) { o.MaxData = 1 << 20 }), "app-1", 700<<10)
}
