package redis

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/test/redisserver"
)

// TestServerThatBecameAReplica: behind one address another server took over, and the
// one before lives on as its replica and keeps its connections. Nothing was published
// until it ended.
func TestServerThatBecameAReplica(t *testing.T) {
	t.Parallel()
	old, successor := redisserver.Start(t), redisserver.Start(t)
	var at atomic.Pointer[redisserver.Server]
	at.Store(old)
	l := open(t, old.URL(), false, func(o *Options) {
		o.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at.Load().Addr())
		}
	})
	replicate := func(s, of *redisserver.Server) {
		host, port, _ := net.SplitHostPort(of.Addr())
		s.Do("REPLICAOF " + host + " " + port)
		until(t, "the replica has everything", func() bool { return s.Info("master_link_status") == "up" })
	}
	w := attachTo(t, l, "c")
	epoch := l.apps.Of("app-1").currentEpoch()
	replicate(successor, old)
	publishOne(t, l, "c", "before")
	until(t, "it is replicated", func() bool {
		return old.Info("master_repl_offset") == successor.Info("slave_repl_offset")
	})
	successor.Do("REPLICAOF NO ONE")
	at.Store(successor)
	replicate(old, successor)
	publishOne(t, l, "c", "after")
	until(t, "both are delivered", func() bool { pubs, _ := w.seen(); return len(pubs) == 2 })
	until(t, "the log is ready", func() bool { return l.Health().Ready })
	if _, gaps := w.seen(); len(gaps) > 0 || l.apps.Of("app-1").currentEpoch() != epoch {
		t.Errorf("gaps %+v, want none", gaps)
	}
	live := l.keys.channel("app-1", "c").live
	until(t, "live messages come from the new server", func() bool {
		return slices.Contains(successor.Lines("PUBSUB CHANNELS"), live)
	})
}
