package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/natsd"
)

// logLines is a log output that may be written and read at the same time.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startCompose runs three NATS servers with the accounts of docker-compose.yml, and loads the configuration
// of its gateways.
func startCompose(t *testing.T) (*natsCluster, *configs.Config) {
	t.Helper()
	told := filepath.Join("..", "..", "configs", "deploy", "compose")
	loaded, err := configs.Load(configs.Sources{File: filepath.Join(told, "gateway.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	// This is the compose file's accounts file, on free ports.
	servers := startNATS(t, func(s *natsd.Settings) { s.Accounts = filepath.Join(told, "nats.conf") })
	return servers, loaded
}

// TestPermissionsOfTheComposeFile runs NATS servers with the accounts of docker-compose.yml and a log with
// the gateway's account, whose permissions suffice. A publisher can publish and can do no harm.
func TestPermissionsOfTheComposeFile(t *testing.T) {
	servers, loaded := startCompose(t)

	said := &logLines{}
	l, err := streams.Open(t.Context(), streams.Options{
		URLs: servers.urls(), User: loaded.NATS.User, Password: streams.Secret(loaded.NATS.Password.Reveal()),
		Apps: []streams.AppOptions{{ID: "4711", Secrets: []streams.Secret{"secret"}, MaxMessages: 100, MaxBytes: -1}}, Replicas: loaded.NATS.Replicas, StartTimeout: patience,
		Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counters, err := l.OpenCounters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	work, err := l.OpenWork(t.Context(), "test", table)
	if err != nil {
		t.Fatal(err)
	}
	orders := &publications{}
	listening, err := l.Attach(t.Context(), broker.GatewaysApp, "4711", orders)
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Detach()
	got := &publications{}
	at, err := l.Attach(t.Context(), "4711", "c", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	if _, err := work.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	// The second Take finds the consumer that the first has created.
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := work.Take(ctx, "q", 1, func(broker.Taken) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("the gateway may not take work: %v", err)
		}
		cancel()
	}
	if err := l.Retain(t.Context(), []streams.AppOptions{{ID: "4711", Secrets: []streams.Secret{"secret"}, MaxMessages: 50, MaxBytes: -1, Replicas: loaded.NATS.Replicas}}); err != nil {
		t.Errorf("the gateway may not change what is kept: %v", err)
	}
	if err := table.Purge(t.Context(), "grave.>", 1); err != nil {
		t.Errorf("the gateway may not purge the table: %v", err)
	}
	if _, err := l.Publish(t.Context(), broker.GatewaysApp, broker.Outgoing{Channel: "4711", Event: &broker.Event{Name: "order"}}); err != nil {
		t.Errorf("the gateway may not give orders: %v", err)
	}
	ear := &publications{}
	listening, err = l.Attach(t.Context(), "4711", "heard", ear)
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Detach()
	// The publisher's NATS server learns of the subscription a moment later.
	casts := 0
	eventually(t, "it hears its own", func() bool {
		casts++
		if err := l.Cast(t.Context(), "4711", broker.Outgoing{Channel: "heard", Event: &broker.Event{Name: "e", MessageID: fmt.Sprint("m", casts)}}); err != nil {
			t.Fatalf("the gateway may not send ephemeral events: %v", err)
		}
		return ear.count() > 0
	})
	eventually(t, "the order has come", func() bool { return orders.count() == 1 })
	if text := said.String(); strings.Contains(text, "ermission") {
		t.Errorf("the gateway wanted more than it may:\n%s", text)
	}

	publisher, err := nats.Connect(servers.String(), nats.UserInfo("publisher", "change-this-password-too"), nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	for _, subject := range []string{
		"rt.4711.c", "ep.4711.0.c", "gw.4711", "rtgw.4711", "rtctr.4711.c", "rtkv.seat.4711.c.n.u", "$KV.cluster.seat.4711.c.n.u", "$KV.counters.4711.c", "work.q",
		"$JS.API.STREAM.DELETE.CH_4711",
	} {
		if err := publisher.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		// A publisher may direct the log's acknowledgement to any subject.
		if err := publisher.PublishRequest(streams.SubjectOf("4711", "other"), subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	ack, err := publisher.Request(streams.SubjectOf("4711", "c"), []byte("good"), patience)
	if err != nil || !strings.Contains(string(ack.Data), `"seq":11`) {
		t.Fatalf("a publisher may not publish: %v", err)
	}
	eventually(t, "the good one has come", func() bool { return got.count() == 1 })
	if page, err := l.Read(t.Context(), broker.GatewaysApp, "4711", broker.Query{Limit: 10}); err != nil || len(page.Publications) != 1 || orders.count() != 1 {
		t.Errorf("a publisher gave orders: %v, %v", page, err)
	}
	if records, err := table.List(t.Context(), "seat.>"); err != nil || len(records) > 0 {
		t.Errorf("a publisher wrote into the table: %v, %v", records, err)
	}
	if e, err := counters.Get(t.Context(), "4711.c"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a publisher wrote into the counters: %s, %v", e.Value, err)
	}
	gateway, err := nats.Connect(servers.String(), nats.UserInfo(loaded.NATS.User, loaded.NATS.Password.Reveal()), nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gateway.Close)
	if m, err := gateway.Request("$JS.API.STREAM.INFO.WORK", nil, patience); err != nil || !strings.Contains(string(m.Data), `"messages":1,`) {
		t.Errorf("a publisher wrote into the queues: %v, %v", m, err)
	}
	for _, subject := range []string{"rt.4711.c", "rtgw.4711", "rtkv.seat.4711.c.n.u", "$JS.API.STREAM.DELETE.CH_4711", "$JS.API.STREAM.SNAPSHOT.CH_4711", "$JS.API.CONSUMER.CREATE.CH_4711"} {
		if err := gateway.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := gateway.Flush(); err != nil || !errors.Is(gateway.LastError(), nats.ErrPermissionViolation) || !strings.Contains(gateway.LastError().Error(), subject) {
			t.Errorf("a gateway may publish on %s: %v, %v", subject, err, gateway.LastError())
		}
	}
	if gone, err := l.Purge(t.Context(), "4711", "c", 0); err != nil || gone.Messages != 1 {
		t.Errorf("the gateway may not purge a channel: %+v, %v", gone, err)
	}
	if _, err := table.Put(t.Context(), "seat.4711.c.n.u", nil, 0); err != nil && err != kv.ErrConflict {
		t.Errorf("the gateway may not write into the table: %v", err)
	}
}
