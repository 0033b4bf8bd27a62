package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
)

// TestPermissionsOfTheComposeFile runs a NATS server with the users of docker-compose.yml
// and a log as the gateway. A publisher can publish and can do no harm.
func TestPermissionsOfTheComposeFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	content := func(name string) string {
		all, _ := tree["configs"].(map[string]any)
		one, _ := all[name].(map[string]any)
		s, _ := one["content"].(string)
		return strings.ReplaceAll(s, "$$", "$")
	}
	dir := t.TempDir()
	sluice := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(sluice, []byte(content("sluice")), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := configs.Load(configs.Sources{File: sluice})
	if err != nil {
		t.Fatal(err)
	}
	// One server instead of three, on a free port.
	_, authorization, _ := strings.Cut(content("nats"), "authorization {")
	conf := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(conf, []byte("authorization {"+authorization), 0o600); err != nil {
		t.Fatal(err)
	}
	opt, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	opt.Host, opt.Port, opt.JetStream, opt.StoreDir, opt.NoSigs, opt.NoLog = "127.0.0.1", -1, true, dir, true, true
	opt.JetStreamMaxMemory, opt.JetStreamMaxStore = 64<<20, 1<<30
	s, err := server.NewServer(opt)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}

	l, err := streams.Open(t.Context(), streams.Options{
		URLs: []string{s.ClientURL()}, User: loaded.NATS.User, Password: streams.Secret(loaded.NATS.Password.Reveal()),
		Apps: []streams.AppOptions{{ID: "4711", MaxMessages: 100, MaxBytes: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	table, err := l.OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.OpenCounters(t.Context()); err != nil {
		t.Fatal(err)
	}
	work, err := l.OpenWork(t.Context(), "test", table)
	if err != nil {
		t.Fatal(err)
	}
	got := &publications{}
	at, err := l.Attach(t.Context(), "4711", "c", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	if err := work.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	taken, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		_ = work.Take(ctx, "q", 1, func(broker.Taken) { taken <- struct{}{} })
	}()
	defer func() { cancel(); <-ended }()
	select {
	case <-taken:
	case <-time.After(patience):
		t.Error("the gateway may not take work")
	}

	publisher, err := nats.Connect(s.ClientURL(), nats.UserInfo("publisher", "change-this-password-too"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	for _, subject := range []string{"rt.4711.c", "rtkv.seat.4711.c.n.u", "$KV.cluster.seat.4711.c.n.u", "work.q", "$JS.API.STREAM.DELETE.CH_4711"} {
		if err := publisher.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	ack, err := publisher.Request(streams.SubjectOf("4711", "c"), []byte("good"), patience)
	if err != nil || !strings.Contains(string(ack.Data), `"seq":1`) {
		t.Fatalf("a publisher may not publish: %v", err)
	}
	eventually(t, "the good one has come", func() bool { return got.count() == 1 })
	if records, err := table.List(t.Context(), "seat.>"); err != nil || len(records) > 0 {
		t.Errorf("a publisher wrote into the table: %v, %v", records, err)
	}
	if _, err := table.Put(t.Context(), "seat.4711.c.n.u", nil, 0); err != nil && err != kv.ErrConflict {
		t.Errorf("the gateway may not write into the table: %v", err)
	}
}
