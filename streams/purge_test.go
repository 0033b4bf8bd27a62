package streams

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestTime01APermissionToPurgeThatIsMissing: a gateway without the permission to purge names that permission
// at once, and stays ready.
func TestTime01APermissionToPurgeThatIsMissing(t *testing.T) {
	const config = `authorization {users: [{user: u, password: p, permissions: {publish: {allow: ">", deny: "$JS.API.STREAM.PURGE.CH_a"}}}]}`
	s, _ := guarded(t, config)
	said := &lines{}
	l := open(t, Options{
		URLs: []string{s.ClientURL()}, User: "u", Password: "p", Apps: []AppOptions{{ID: "a", Secrets: []Secret{"secret"}}},
		Logger: slog.New(slog.NewTextHandler(said, nil)),
	})
	if _, err := l.Publish(t.Context(), "a", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	_, err := l.Purge(t.Context(), "a", "c", 0)
	var refused *broker.Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "$JS.API.STREAM.PURGE.CH_a") {
		t.Errorf("got %v, want the permission", err)
	}
	if h := l.Health(); !h.Ready || len(h.Problems) > 0 {
		t.Errorf("health is %+v", h)
	}
	awaitTrue(t, "the log says so", func() bool { return strings.Contains(said.String(), "does not permit what a request needs") })
	if r, err := l.Retained(t.Context(), "a", "c"); err != nil || r.Messages != 1 {
		t.Errorf("the channel has %+v, %v", r, err)
	}
}

// TestTime01AStreamThatDeniesPurges: a purge of a stream that is configured to deny purges is refused.
func TestTime01AStreamThatDeniesPurges(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := l.admin.Stream(ctx, StreamOf("app-1"))
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.DenyPurge = true
	if _, err := l.js.UpdateStream(ctx, c); err != nil {
		t.Fatal(err)
	}
	_, err = l.Purge(ctx, "app-1", "c", 0)
	var refused *broker.Refused
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "deny_purge") {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestAPurgedEventIsNotTakenForALostOne: an event that was acknowledged and then purged does not count as
// lost, whichever gateway stored it and whichever one purged it. An event that is removed from the stream in
// another way does.
func TestAPurgedEventIsNotTakenForALostOne(t *testing.T) {
	s := node(t, t.TempDir())
	one, other := open(t, options(s)), open(t, options(s))
	for name, by := range map[string]*Log{"here": one, "on another gateway": other} {
		a, err := one.app("app-1")
		if err != nil {
			t.Fatal(err)
		}
		channel := "orders." + strings.ReplaceAll(name, " ", ".")
		var stored []*parcel
		for range 3 {
			receipt, err := one.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}})
			if err != nil {
				t.Fatal(err)
			}
			p := &parcel{m: nats.NewMsg(publishSubject("", "app-1", channel))}
			p.note(receipt[0].Offset)
			stored = append(stored, p)
		}
		last := stored[2].offset
		if _, err := by.Purge(t.Context(), "app-1", channel, last); err != nil {
			t.Fatal(err)
		}
		for _, p := range stored {
			if where := one.whereIs(t.Context(), a, p); where != inPlace {
				t.Errorf("purged %s: %d is %d, want %d", name, p.offset, where, inPlace)
			}
		}
		stream, err := one.admin.Stream(t.Context(), a.stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(publishSubject("", "app-1", channel))); err != nil {
			t.Fatal(err)
		}
		if where := one.whereIs(t.Context(), a, stored[2]); where != gone {
			t.Errorf("purged %s, and %d was removed by hand: it is %d, want %d", name, last, where, gone)
		}
	}
}
