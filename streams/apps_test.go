package streams

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
)

func problemsOf(l *Log) string { return strings.Join(l.Health().Problems, "\n") }

// spoil makes the stream of an app one that the log refuses to touch.
func spoil(t *testing.T, s *embedded.Server, app string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append(s.ConnectOptions(), nats.Timeout(time.Minute))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: StreamOf(app), Subjects: []string{"something.else"}})
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestTrust07AFailingAppLeavesTheOthersAlone: the other apps start and work, the failing app is named and its
// requests get an error, and it works once its stream is right.
func TestTrust07AFailingAppLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	s := node(t, t.TempDir())
	js := spoil(t, s, "app-1")
	l := open(t, options(s))
	event := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}
	if _, err := l.Publish(t.Context(), "app.2 ü", event); err != nil {
		t.Errorf("the other app suffers: %v", err)
	}
	if h := l.Health(); !h.Ready || !strings.Contains(problemsOf(l), "stream of the app app-1") {
		t.Errorf("health is %+v", h)
	}
	for name, err := range map[string]error{
		"publish": second(l.Publish(t.Context(), "app-1", event)),
		"attach":  second(l.Attach(t.Context(), "app-1", "c", &sink{})),
		"read":    second(l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 1})),
	} {
		if !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := l.Retain(t.Context(), []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 7}}); err != nil {
		t.Errorf("what is to be kept cannot be changed: %v", err)
	}
	if err := js.DeleteStream(t.Context(), StreamOf("app-1")); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the app works", func() bool { return second(l.Publish(t.Context(), "app-1", event)) == nil })
	awaitTrue(t, "nothing is wrong", func() bool { return len(l.Health().Problems) == 0 })
	stream, err := js.Stream(t.Context(), StreamOf("app-1"))
	if err != nil || stream.CachedInfo().Config.MaxMsgsPerSubject != 7 {
		t.Errorf("got %v and %v, want 7 messages to be kept", stream.CachedInfo().Config.MaxMsgsPerSubject, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTrust07ALogWithoutAnyAppDoesNotOpen(t *testing.T) {
	s := node(t, t.TempDir())
	spoil(t, s, "app-1")
	opt := options(s)
	opt.Apps = opt.Apps[:1]
	if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "CH_app-1 exists and differs") {
		t.Errorf("got %v", err)
	}
}

// TestTrust04GatewaysWithoutTheirPermissionServeApps: if a permission that an upgrade needs is not granted,
// the log reports that and no app suffers. Once it is granted everything works without a restart.
func TestTrust04GatewaysWithoutTheirPermissionServeApps(t *testing.T) {
	config := func(more string) string {
		return `authorization {users: [{user: u, password: p, permissions: {
			publish: ["ch.>", "$KV.>", "$JS.API.>"` + more + `], subscribe: ["rt.>", "_INBOX.>"` + more + `]}}]}`
	}
	s, opt := guarded(t, config(""))
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxBytes: -1}},
		Logger: slog.New(slog.NewTextHandler(said, nil)), AuditInterval: time.Hour,
	})
	orders, events := &sink{}, &sink{}
	for app, to := range map[string]*sink{broker.GatewaysApp: orders, "a": events} {
		at, err := l.Attach(t.Context(), app, "a", to)
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
	}
	awaitTrue(t, "readiness names both subjects", func() bool {
		return strings.Contains(problemsOf(l), `"gw.=`) && strings.Contains(problemsOf(l), `"rtgw.a"`)
	})
	if h := l.Health(); !h.Ready {
		t.Errorf("health is %+v", h)
	}
	if !strings.Contains(said.String(), "does not permit what a gateway needs") {
		t.Errorf("the log says\n%s", said)
	}
	if _, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "a", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the app works", func() bool { all, _ := events.all(); return len(all) == 1 })

	next := opt.Clone()
	next.Users = parsed(t, config(`, "gw.>", "rtgw.>"`)).Users
	if err := s.ReloadOptions(next); err != nil {
		t.Fatal(err)
	}
	later := time.Now()
	awaitTrue(t, "nothing is wrong", func() bool {
		later = later.Add(time.Minute)
		l.checkRefusals(later)
		return len(l.Health().Problems) == 0
	})
	if _, err := l.Publish(t.Context(), broker.GatewaysApp, broker.Outgoing{Channel: "a", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "an order has come", func() bool { all, _ := orders.all(); return len(all) == 1 })
}

func TestTrust04TheIdOfGatewaysIsReserved(t *testing.T) {
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps[0].ID = broker.GatewaysApp
	if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("got %v", err)
	}
}

// TestTrust04OrdersAreProven: a message among the gateways' orders that a gateway has not signed is delivered
// with [broker.OriginRaw], so it is no order. The server's acknowledgements could put one there, for example.
func TestTrust04OrdersAreProven(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	got := &sink{}
	at, err := l.Attach(t.Context(), broker.GatewaysApp, "app-1", got)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	order := &broker.Event{Name: "order", Data: []byte("{}"), Origin: broker.OriginHTTP}
	for _, app := range []string{"app-1", broker.GatewaysApp} {
		if _, err := l.Publish(t.Context(), app, broker.Outgoing{Channel: "app-1", Event: order}); err != nil {
			t.Fatal(err)
		}
	}
	// These are a copy of an event of an app, whose proof is valid there, and a plain message.
	copied, err := l.reader.fetch(t.Context(), StreamOf("app-1"), getRequest{LastFor: SubjectOf("app-1", "app-1")})
	if err != nil || len(copied) != 1 {
		t.Fatalf("got %v, %v", copied, err)
	}
	for _, h := range []nats.Header{copied[0].header, {"Origin": {"http"}}} {
		for name := range h {
			if strings.HasPrefix(name, "Nats-") {
				delete(h, name)
			}
		}
		if err := l.pub.conn().PublishMsg(&nats.Msg{Subject: SubjectOf(broker.GatewaysApp, "app-1"), Header: h, Data: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	awaitTrue(t, "all have come", func() bool { all, _ := got.all(); return len(all) == 3 })
	all, _ := got.all()
	for i, want := range []broker.Origin{broker.OriginHTTP, broker.OriginRaw, broker.OriginRaw} {
		if all[i].Origin != want {
			t.Errorf("message %d has the origin %v, want %v", i, all[i].Origin, want)
		}
	}
}
