package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/natsd"
)

// TestConformance runs the conformance suite of the log on three NATS servers with three replicas.
func TestConformance(t *testing.T) {
	servers := startNATS(t)
	groups := 0
	brokertest.Run(t, func(t *testing.T) brokertest.Backend {
		groups++
		prefix := fmt.Sprintf("g%d.", groups)
		open := func(t *testing.T) *streams.Log {
			l, err := streams.Open(t.Context(), streams.Options{
				URLs: servers.urls(), Replicas: 3, Prefix: prefix, StartTimeout: patience, AuditInterval: 200 * time.Millisecond, FeedBytes: 256 << 10,
				Apps: []streams.AppOptions{{ID: "app-1", Secrets: []streams.Secret{"secret"}, MaxMessages: 100, MaxBytes: -1}, {ID: "app-2", Secrets: []streams.Secret{"secret"}, MaxMessages: 100, MaxBytes: -1}},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		l := open(t)
		return brokertest.Backend{
			Probe: brokertest.Probe{
				Attached: func() int { return l.Stats().Attached }, FeedBytes: 256 << 10,
				Repaired: func() uint64 { return l.Stats().Repaired },
			},
			Log: l, Apps: [2]string{"app-1", "app-2"}, MaxMessages: 100, MaxEventBytes: 64<<10 + 1,
			Second: func(t *testing.T) broker.Log { return open(t) },
			Reopen: func(t *testing.T) broker.Log {
				_ = l.Close()
				return open(t)
			},
			Evict: func(t *testing.T, app, channel string) {
				purge(t, servers, fmt.Sprintf("G%d%s", groups, streams.StreamOf(app)))
			},
		}
	})
}

// TestConformanceOfWork runs the conformance suite of the queues on three NATS servers: the leader of the
// stream enforces the bounds of a queue.
func TestConformanceOfWork(t *testing.T) {
	servers := startNATS(t, func(s *natsd.Settings) { s.MaxStore = 32 << 30 })
	groups := 0
	brokertest.RunWork(t, func(t *testing.T) brokertest.Queues {
		groups++
		open := func(node string) broker.Work {
			l, err := streams.Open(t.Context(), streams.Options{
				URLs: servers.urls(), Replicas: 3, Prefix: fmt.Sprintf("w%d.", groups), StartTimeout: patience,
				Apps: []streams.AppOptions{{ID: "app", Secrets: []streams.Secret{"secret"}, MaxBytes: -1}},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			table, err := l.OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w, err := l.OpenWork(t.Context(), node, table)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		return brokertest.Queues{One: open("one"), Other: open("other")}
	})
}

// purge removes all messages of a stream.
func purge(t *testing.T, servers *natsCluster, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := nats.Connect(servers.urls()[0], nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	js, err := jetstream.New(c, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, name)
	if err == nil {
		err = s.Purge(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}
