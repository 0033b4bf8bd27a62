package redis

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// atOnce makes a server sync a replica without waiting for further replicas.
var atOnce = []string{"--repl-diskless-sync-delay", "0"}

// TestServerThatBecameAReplica: behind one address another server took over, and the former one lives on as
// its replica and keeps its connections. Before, no event could be published until the former server ended.
func TestServerThatBecameAReplica(t *testing.T) {
	t.Parallel()
	old, successor := redisserver.Start(t, atOnce...), redisserver.Start(t, atOnce...)
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

// behindOneAddress opens a log on a server from which a successor can take over: the server becomes a replica
// and keeps its connections, and the address leads to the successor. Writes made by between are lost.
func behindOneAddress(t *testing.T, change ...func(*Options)) (l *Log, successor *redisserver.Server, takeOver func(between ...func())) {
	t.Helper()
	old, successor := redisserver.Start(t, atOnce...), redisserver.Start(t, atOnce...)
	var at atomic.Pointer[redisserver.Server]
	at.Store(old)
	l = open(t, old.URL(), false, append([]func(*Options){silent, func(o *Options) {
		o.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at.Load().Addr())
		}
	}}, change...)...)
	replicate := func(s, of *redisserver.Server) {
		host, port, _ := net.SplitHostPort(of.Addr())
		s.Do("REPLICAOF " + host + " " + port)
		until(t, "the replica has everything", func() bool { return s.Info("master_link_status") == "up" })
	}
	return l, successor, func(between ...func()) {
		replicate(successor, old)
		successor.Do("REPLICAOF NO ONE")
		for _, do := range between {
			do()
		}
		at.Store(successor)
		replicate(old, successor)
	}
}

// talksTo reports whether the log is connected to a server.
func (l *Log) talksTo(t *testing.T, s *redisserver.Server) bool {
	for _, c := range []rueidis.Client{l.pub, l.read} {
		info, err := c.Do(t.Context(), c.B().Info().Section("server").Build()).ToString()
		if err != nil || !strings.Contains(info, "run_id:"+s.Info("run_id")) {
			return false
		}
	}
	return true
}

// TestIdleGatewayLeavesAReplica: before, a gateway without publishes stayed connected to a server that had
// become a replica, and could store neither cluster state nor webhooks. Each kind of write, and the periodic
// check of the server, must end that, so each is tested alone.
func TestIdleGatewayLeavesAReplica(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, write := range map[string]func(t *testing.T, l *Log, table *Table) func() error{
		"a record": func(_ *testing.T, _ *Log, table *Table) func() error {
			return func() error { _, err := table.Put(ctx, "lease.x", []byte("alive"), time.Minute); return err }
		},
		"removing records": func(_ *testing.T, _ *Log, table *Table) func() error {
			return func() error { return table.Purge(ctx, "lease.>", 1<<62) }
		},
		"a task": func(_ *testing.T, l *Log, _ *Table) func() error {
			return func() error { _, err := l.OpenWork().Put(ctx, "q", broker.Task{Body: []byte("b")}); return err }
		},
		"the turn at a queue": func(t *testing.T, l *Log, _ *Table) func() error {
			w := l.OpenWork()
			w.lease = 100 * time.Millisecond
			ctx, cancel := context.WithCancel(ctx)
			taking := make(chan struct{})
			go func() {
				defer close(taking)
				for ctx.Err() == nil {
					_ = w.Take(ctx, "q", 1, func(broker.Taken) {})
				}
			}()
			t.Cleanup(func() { cancel(); <-taking })
			return func() error { return nil }
		},
		"a task that is done": func(t *testing.T, l *Log, _ *Table) func() error {
			k := &taking{work: l.OpenWork(), keys: l.OpenWork().keys("q"), finished: make(chan struct{}, 1)}
			if _, err := k.work.Put(ctx, "q", broker.Task{Body: []byte("b")}); err != nil {
				t.Fatal(err)
			}
			got, _, err := k.read(ctx, "0-0", 1, 1)
			if err != nil || len(got) != 1 {
				t.Fatalf("%d tasks, %v", len(got), err)
			}
			return func() error { return k.taken(got[0]).Done(ctx) }
		},
		"an event": func(t *testing.T, l *Log, _ *Table) func() error {
			return func() error { publishOne(t, l, "c", "x"); return nil }
		},
		"a place": func(_ *testing.T, l *Log, _ *Table) func() error {
			return func() error {
				at, err := l.Attach(ctx, "app-1", "c", &witness{})
				if err == nil {
					at.Detach()
				}
				return err
			}
		},
		"a purge": func(t *testing.T, l *Log, _ *Table) func() error {
			publishOne(t, l, "c", "x")
			return func() error { _, err := l.Purge(ctx, "app-1", "c", 0); return err }
		},
		"a new life": func(_ *testing.T, l *Log, _ *Table) func() error {
			return func() error { a := l.apps.Of("app-1"); return l.renew(ctx, a, a.currentEpoch()) }
		},
		"what finds out whether there is room": func(_ *testing.T, l *Log, _ *Table) func() error {
			return func() error {
				l.unstorable(l.keys.channel("app-1", "c").stream, errReplica)
				l.tryStoring()
				return nil
			}
		},
		"nothing": func(_ *testing.T, _ *Log, _ *Table) func() error { return func() error { return nil } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, successor, takeOver := behindOneAddress(t, func(o *Options) {
				if o.AuditInterval = time.Hour; name == "nothing" {
					o.AuditInterval = 100 * time.Millisecond
				}
			})
			table, err := l.OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Put(t.Context(), "lease.y", []byte("alive"), 0); err != nil {
				t.Fatal(err)
			}
			do := write(t, l, table)
			takeOver()
			// The first attempt is refused, and the connections are closed.
			until(t, "it is written", func() bool { return do() == nil })
			until(t, "the connections are to the successor", func() bool { return l.talksTo(t, successor) })
		})
	}
}
