package streams

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// ears keeps the ephemeral events of a channel.
type ears struct {
	sink
	mu    sync.Mutex
	heard []*broker.Publication
}

func (e *ears) Heard(p *broker.Publication) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, p)
}

func (e *ears) texts() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, p := range e.heard {
		out = append(out, string(p.Data))
	}
	return fmt.Sprint(out)
}

func listenTo(t *testing.T, l *Log, app, channel string) *ears {
	t.Helper()
	e := &ears{}
	at, err := l.Attach(t.Context(), app, channel, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Detach)
	return e
}

func castText(t *testing.T, l *Log, app, channel, data string) error {
	t.Helper()
	return l.Cast(t.Context(), app, broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(data), MessageID: "m", UserID: "u"}})
}

// TestTime01NobodyElseCasts: an ephemeral event without a valid proof is not delivered, and a repeated event
// of a gateway is delivered in its own channel only.
func TestTime01NobodyElseCasts(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	conn, err := nats.Connect("", append(s.ConnectOptions(), nats.Timeout(time.Minute))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	c, d, other := listenTo(t, l, "app-1", "c"), listenTo(t, l, "app-1", "d"), listenTo(t, l, "app.2 ü", "c")
	heard, err := conn.SubscribeSync("ep.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := castText(t, l, "app-1", "c", "good"); err != nil {
		t.Fatal(err)
	}
	genuine, err := heard.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	subjectOf := func(app, channel string) string { return castPart("", app, channel) + name.Subject(channel) }
	forge := func(subject string, change func(m *nats.Msg)) {
		m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: genuine.Data}
		for k, v := range genuine.Header {
			m.Header[k] = v
		}
		change(m)
		if err := conn.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	same := func(*nats.Msg) {}
	before := l.Stats().Rejected
	forge(subjectOf("app-1", "d"), same)
	forge(subjectOf("app.2 ü", "c"), same)
	forge(subjectOf("app-1", "c"), func(m *nats.Msg) { m.Header.Del(headerProof) })
	forge(subjectOf("app-1", "c"), func(m *nats.Msg) { m.Data = []byte("forged") })
	forge(subjectOf("app-1", "c"), func(m *nats.Msg) { m.Header[headerUser] = []string{"admin"} })
	forge(subjectOf("app-1", "c"), func(m *nats.Msg) { m.Header[headerTags] = []string{`{"a":"b"}`} })
	forge(subjectOf("app-1", "c"), func(m *nats.Msg) { m.Header = nil })
	// The proof of a stored event is not valid for an ephemeral one.
	stored := signed(t, l.apps.Of("app-1").credentials.Load(), SubjectOf("app-1", "c"))
	stored.Subject = subjectOf("app-1", "c")
	if err := conn.PublishMsg(stored); err != nil {
		t.Fatal(err)
	}
	// Subjects that belong to no channel are dropped.
	for _, subject := range []string{"ep.app-1", "ep.app-1.0", "ep.app-1.0.c.more", "ep.app-1.x.c", "ep.x.0.c", castPart("", "app-1", "c") + "=ZZ"} {
		forge(subject, same)
	}
	if err := castText(t, l, "app-1", "c", "last"); err != nil {
		t.Fatal(err)
	}
	if err := castText(t, l, "app-1", "d", "last"); err != nil {
		t.Fatal(err)
	}
	if err := castText(t, l, "app.2 ü", "c", "last"); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the genuine ones are heard", func() bool {
		return strings.Contains(c.texts(), "last") && d.texts() == "[last]" && other.texts() == "[last]"
	})
	if got := c.texts(); got != "[good last]" {
		t.Errorf("heard %s", got)
	}
	awaitTrue(t, "the forged ones are counted", func() bool { return l.Stats().Rejected-before == 8 })
	if pubs, gaps := c.all(); len(pubs) > 0 || gaps > 0 {
		t.Errorf("the feed has %d events and %d gaps", len(pubs), gaps)
	}
	// A part is subscribed to as long as one of its channels is followed.
	if n := len(l.casts.parts); n != 3 {
		t.Errorf("%d parts are subscribed to", n)
	}
}

// TestTime01PermissionsToCastThatAreMissing: a missing permission to publish ephemeral events is named in the
// error, a missing permission to subscribe to them does not make the log unready, and both errors end once
// the permissions are granted.
func TestTime01PermissionsToCastThatAreMissing(t *testing.T) {
	config := func(publish, subscribe string) string {
		return `authorization {users: [{user: u, password: p, permissions: {publish: {allow: ">"` + publish + `}, subscribe: {allow: ">"` + subscribe + `}}}]}`
	}
	s, opt := guarded(t, config(`, deny: "ep.>"`, `, deny: "ep.>"`))
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}},
		Logger: slog.New(slog.NewTextHandler(said, nil)), AuditInterval: time.Hour,
	})
	got := listenTo(t, l, "a", "c")
	err := castText(t, l, "a", "c", "denied")
	var refused *broker.Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "ep.a.") {
		t.Errorf("got %v, want the permission", err)
	}
	awaitTrue(t, "readiness names the permission", func() bool {
		return strings.Contains(strings.Join(l.Health().Problems, "\n"), "ephemeral events of the app a")
	})
	if h := l.Health(); !h.Ready {
		t.Errorf("health is %+v", h)
	}
	if _, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "stored events come", func() bool { all, _ := got.all(); return len(all) == 1 })

	next := opt.Clone()
	next.Users = parsed(t, config("", "")).Users
	if err := s.ReloadOptions(next); err != nil {
		t.Fatal(err)
	}
	later := time.Now()
	awaitTrue(t, "nothing is missing any more", func() bool {
		later = later.Add(time.Minute)
		l.checkRefusals(later)
		return l.Health().Ready && len(l.Health().Problems) == 0
	})
	awaitTrue(t, "ephemeral events are heard", func() bool {
		if err := castText(t, l, "a", "c", "x"); err != nil {
			t.Logf("not yet: %v", err)
		}
		return strings.Contains(got.texts(), "x")
	})
	if strings.Contains(got.texts(), "denied") {
		t.Error("what was refused was heard")
	}
}
