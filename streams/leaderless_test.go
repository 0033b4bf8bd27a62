package streams

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// TestTime05NobodyLeadsTheStream: without a leader, replicas answer for the stream, each with what it has.
// Before, a message that the answering replica lacked was taken for one that does not exist, at every door
// that asks for the stream.
func TestTime05NobodyLeadsTheStream(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	var last broker.Position
	for range 5 {
		at, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e"}})
		if err != nil {
			t.Fatal(err)
		}
		last = at[0].Position
	}
	a, conn := l.apps.Of("app-1"), l.reader.link.conn()
	leader := make(chan string, 1)
	leader <- ""
	sub, err := conn.Subscribe("other.STREAM.INFO.*", func(m *nats.Msg) {
		name := <-leader
		leader <- name
		got, err := conn.Request("$JS.API"+m.Subject[len("other"):], m.Data, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		var answer map[string]any
		if err := json.Unmarshal(got.Data, &answer); err != nil {
			t.Error(err)
		}
		answer["cluster"] = map[string]any{"name": "n", "leader": name}
		if name == "" {
			state := answer["state"].(map[string]any)
			state["last_seq"], state["messages"] = 2, 2
		}
		body, _ := json.Marshal(answer)
		_ = m.Respond(body)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	js, err := jetstream.NewWithAPIPrefix(conn, "other.")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{}
	k.now.Store(&connection{conn: conn, js: js})
	x := &Log{ctx: t.Context(), opt: l.opt, reader: l.reader, feed: l.feed, epochs: l.epochs, admin: jets{k}}
	own := &appLog{opt: a.opt, stream: a.stream, root: a.root}
	own.epoch.Store(a.epoch.Load())
	own.info.Store(a.info.Load())
	own.copies.Store(3)
	s, subject := span{log: x, app: own, channel: "c", subject: SubjectOf("app-1", "c"), page: pageSize}, SubjectOf("app-1", "c")
	other := span{log: x, app: own, channel: "d", subject: SubjectOf("app-1", "d"), page: pageSize}
	for _, c := range []struct {
		name string
		ask  func() error
	}{
		{"the stream", func() error { _, err := x.streamInfo(t.Context(), own); return err }},
		{"how many there are", func() error { _, _, err := s.count(t.Context()); return err }},
		{"which channels there are", func() error { _, _, err := x.channels(t.Context(), own, "app-1"); return err }},
		{"whether retention explains it", func() error { _, err := x.infoFor(t.Context(), own, subject); return err }},
		{"where the stream ends", func() error { _, err := x.end(t.Context(), own, last.Epoch); return err }},
		{"whether something was purged", func() error {
			_, err := x.mayBePurged(t.Context(), own, absence{at: 3})
			return err
		}},
		{"what became of a message", func() error {
			_, err := x.fateOf(t.Context(), own, mark{subject: subject, offset: last.Offset + 1, time: time.Now()})
			if err == nil {
				return nil
			}
			return err
		}},
		{"a position without a message", func() error {
			_, err := other.after(t.Context(), last, 10)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			<-leader
			leader <- ""
			if err := c.ask(); !errors.Is(err, errStale) || !worthWaiting(unavailable("asking", err)) {
				t.Errorf("while nobody leads: %v", err)
			}
			<-leader
			leader <- "a"
			if err := c.ask(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	<-leader
	leader <- ""
	if c := x.newComparison(own, true); !c.unknown {
		t.Error("copies are believed while nobody leads")
	}
}
