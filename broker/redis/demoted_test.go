package redis

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
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

// TestIdleGatewayLeavesAReplica: a gateway to which nothing is published stayed with a server that
// became a replica, and could not store who is where, nor webhooks.
func TestIdleGatewayLeavesAReplica(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(l *Log, table *Table) error{
		"a record": func(_ *Log, table *Table) error {
			_, err := table.Put(context.Background(), "lease.x", []byte("alive"), time.Minute)
			return err
		},
		"removing records": func(_ *Log, table *Table) error {
			return table.Purge(context.Background(), "lease.>", 1<<62)
		},
		"a task": func(l *Log, _ *Table) error {
			_, err := l.OpenWork().Put(context.Background(), "q", broker.Task{Body: []byte("b")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, successor := redisserver.Start(t), redisserver.Start(t)
			var at atomic.Pointer[redisserver.Server]
			at.Store(old)
			l := open(t, old.URL(), false, silent, func(o *Options) {
				o.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "tcp", at.Load().Addr())
				}
			})
			table, err := l.OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Put(t.Context(), "lease.y", []byte("alive"), 0); err != nil {
				t.Fatal(err)
			}
			replicate := func(s, of *redisserver.Server) {
				host, port, _ := net.SplitHostPort(of.Addr())
				s.Do("REPLICAOF " + host + " " + port)
				until(t, "the replica has everything", func() bool { return s.Info("master_link_status") == "up" })
			}
			replicate(successor, old)
			successor.Do("REPLICAOF NO ONE")
			at.Store(successor)
			replicate(old, successor)
			// The first is refused, and the connections are given up.
			until(t, "it is written", func() bool { return write(l, table) == nil })
		})
	}
}
