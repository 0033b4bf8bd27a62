package streams

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// answering has the test answer direct gets of the newest messages of subjects. The test may call pass, which
// has the server answer as a replica that ends at an offset would.
func answering(t *testing.T, l *Log, answer func(q getRequest, m *nats.Msg, pass func(upTo uint64))) *reader {
	t.Helper()
	conn := l.reader.link.conn()
	sub, err := conn.Subscribe("other.>", func(m *nats.Msg) {
		var q getRequest
		if err := json.Unmarshal(m.Data, &q); err != nil {
			t.Error(err)
			return
		}
		pass := func(upTo uint64) {
			q.UpToSeq = upTo
			body, _ := json.Marshal(q)
			_ = conn.PublishRequest("$JS.API."+strings.TrimPrefix(m.Subject, "other."), m.Reply, body)
		}
		if len(q.MultiLast) == 0 {
			pass(0)
			return
		}
		answer(q, m, pass)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return &reader{link: l.reader.link, api: "other.", timeout: l.reader.timeout, slots: l.reader.slots, asking: l.reader.asking}
}

// TestWeeks02ACopyThatEndsWhereAChannelWasDelivered: the last live event of a channel was lost while a leader
// died. Before, a replica that ended at what was delivered said that nothing was missing and was believed:
// the event came with the next one, or minutes later.
func TestWeeks02ACopyThatEndsWhereAChannelWasDelivered(t *testing.T) {
	for _, c := range []struct {
		name   string
		copies int64
		// behind is the number of events that the replica lacks, until it was asked that often; 0 means for
		// ever.
		behind uint64
		until  int
		silent bool // and the channel has no event yet
		fails  bool
	}{
		{"it has all", 3, 0, 1, false, false},
		{"it is behind for a moment", 3, 1, 3, false, false},
		{"it stays behind", 3, 1, 0, false, true},
		{"it has nothing yet of what is asked for", 3, 2, 0, true, true},
		{"it has nothing yet for a moment", 3, 2, 4, true, false},
		{"there is no other copy", 1, 0, 1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, options(node(t, t.TempDir())))
			publish := func(channel string) uint64 {
				t.Helper()
				got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}})
				if err != nil {
					t.Fatal(err)
				}
				return got[0].Offset
			}
			a, asked := l.apps.Of("app-1"), 0
			publish("first")
			seen := publish("other")
			if !c.silent {
				seen = publish("c")
			}
			missed := publish("c")
			sk := &sink{}
			f := alone(t, broker.Position{Epoch: a.currentEpoch(), Offset: seen}, sk)
			own := &appLog{opt: a.opt, stream: a.stream, root: a.root}
			own.epoch.Store(a.epoch.Load())
			own.info.Store(a.info.Load())
			own.copies.Store(c.copies)
			own.disturbed()
			f.app, f.subject = own, SubjectOf("app-1", "c")
			f.log.reader, f.log.feed, f.log.admin = l.reader, l.feed, l.admin
			f.Lock()
			f.origin = seen
			f.track.skip(seen)
			f.Unlock()
			look := f.log.newComparison(own, false)
			if look.lag = time.Minute; c.fails {
				look.lag = staleTimeout / 20
			}
			look.reader = answering(t, l, func(_ getRequest, _ *nats.Msg, pass func(uint64)) {
				if asked++; c.until > 0 && asked >= c.until {
					pass(0)
				} else {
					pass(missed - c.behind)
				}
			})
			err := look.look([]*follower{f})
			f.Lock()
			sound, repairing := f.sound == own.upset.Load(), f.Repairing()
			f.Unlock()
			if (err != nil) != c.fails || sound || repairing == c.fails {
				t.Errorf("sound is %v, repairing %v, and the error is %v", sound, repairing, err)
			}
		})
	}
}

// TestWeeks02AnAnswerThatBreaksOff: a message that is removed while its offset is looked up ends the answer.
// Before, all further channels of the request were taken for empty ones.
func TestWeeks02AnAnswerThatBreaksOff(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	var subjects []string
	for i := range 4 {
		channel := fmt.Sprint("c", i)
		subjects = append(subjects, SubjectOf("app-1", channel))
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e"}}); err != nil {
			t.Fatal(err)
		}
	}
	subjects = append(subjects, SubjectOf("app-1", "empty"))
	a, asked, breaks := l.apps.Of("app-1"), 0, 0
	c := l.newComparison(a, false)
	c.reader = answering(t, l, func(q getRequest, m *nats.Msg, pass func(uint64)) {
		if asked++; asked > breaks {
			pass(0)
			return
		}
		conn := l.reader.link.conn()
		if asked%2 == 1 { // some channels were answered before
			got, err := l.reader.fetch(t.Context(), a.stream, getRequest{MultiLast: q.MultiLast[:1]})
			if err != nil {
				t.Error(err)
			}
			for _, one := range got {
				_ = conn.PublishMsg(&nats.Msg{Subject: m.Reply, Header: one.header, Data: one.data})
			}
		}
		_ = conn.PublishMsg(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}})
	})
	for _, n := range []int{0, 1, 2} {
		asked, breaks = 0, n
		got, believed, err := c.ends(t.Context(), subjects)
		if err != nil || !believed || len(got) != 4 {
			t.Errorf("after %d answers that broke off: %d places, believed %v, %v", n, len(got), believed, err)
		}
	}
	asked, breaks, c.lag = 0, 1<<30, 0
	if got, believed, err := c.ends(t.Context(), subjects); err != nil || believed || len(got) != 1 {
		t.Errorf("of an answer that breaks off: %d places, believed %v, %v", len(got), believed, err)
	}
}
