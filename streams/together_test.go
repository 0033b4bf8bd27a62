package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/fault"
)

// allTogether opens a log whose batches are stored atomically as mode says, through a connection that can be
// disturbed.
func allTogether(t *testing.T, s *embedded.Server, mode AtomicBatches, more ...nats.Option) *Log {
	opt := options(s)
	opt.Atomic = mode
	opt.ConnectOptions = append(opt.ConnectOptions, more...)
	return open(t, opt)
}

// ofBatch returns n events in some channels, with ids made of key unless it is empty.
func ofBatch(key string, n, channels int) []broker.Outgoing {
	out := make([]broker.Outgoing, n)
	for i := range out {
		out[i] = broker.Outgoing{Channel: fmt.Sprint("c", i%channels), Event: &broker.Event{Name: fmt.Sprintf("%s-%d", key, i), Data: []byte(`"x"`)}}
		if key != "" {
			out[i].Event.DedupID = fmt.Sprint(key, "-", i)
		}
	}
	return out
}

func publishAll(t *testing.T, l *Log, events []broker.Outgoing) []broker.Receipt {
	t.Helper()
	receipts, err := l.Publish(t.Context(), "app-1", events...)
	if err != nil {
		t.Fatal(err)
	}
	return receipts
}

// streamOf reads all messages of the first app.
func streamOf(t *testing.T, l *Log) (all []stored) {
	t.Helper()
	a := l.apps.Of("app-1")
	info, err := l.infoFor(t.Context(), a, "")
	if err != nil {
		t.Fatal(err)
	}
	for seq := max(info.State.FirstSeq, 1); seq <= info.State.LastSeq; seq++ {
		one, found, err := l.reader.leaderGet(t.Context(), a.stream, getRequest{Seq: seq})
		if err != nil || !found {
			t.Fatal(found, err)
		}
		all = append(all, one)
	}
	return all
}

// each checks that every event is in the log once, at the offset of its receipt.
func each(t *testing.T, l *Log, events []broker.Outgoing, receipts []broker.Receipt) {
	t.Helper()
	all, n := streamOf(t, l), map[string]int{}
	for _, m := range all {
		n[last(m.header, headerEvent)]++
	}
	for i, e := range events {
		m := all[receipts[i].Position.Offset-all[0].offset]
		if last(m.header, headerEvent) != e.Event.Name || m.subject != publishSubject("", "app-1", e.Channel) || n[e.Event.Name] != 1 {
			t.Errorf("%s: %d times in the log, and %s of %s is where the receipt says", e.Event.Name, n[e.Event.Name], last(m.header, headerEvent), m.subject)
		}
	}
}

func TestWayIn02BatchesAreStoredAsAWhole(t *testing.T) {
	l := allTogether(t, node(t, t.TempDir()), AtomicAlways)
	events := ofBatch("k", 20, 7)
	receipts := publishAll(t, l, events)
	each(t, l, events, receipts)
	all := streamOf(t, l)
	for i, r := range receipts {
		if r.Duplicate || r.Position.Offset != receipts[0].Position.Offset+uint64(i) {
			t.Errorf("event %d: receipt %+v", i, r)
		}
		if last(all[i].header, batchID) == "" || last(all[i].header, batchID) != last(all[0].header, batchID) {
			t.Errorf("event %d is not of the batch", i)
		}
	}
	t.Run("again with the same ids", func(t *testing.T) {
		for i, r := range publishAll(t, l, events) {
			if !r.Duplicate || r.Position != receipts[i].Position {
				t.Errorf("event %d: got %+v, want that of before, %+v", i, r, receipts[i])
			}
		}
		each(t, l, events, receipts)
	})
	t.Run("of which one is known", func(t *testing.T) {
		more := append(ofBatch("m", 5, 2), events[3])
		got := publishAll(t, l, more)
		each(t, l, more, got)
		if !got[5].Duplicate || got[5].Position != receipts[3].Position || got[0].Duplicate {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("with an id twice", func(t *testing.T) {
		more := ofBatch("n", 3, 3)
		more[2] = more[0]
		got := publishAll(t, l, more)
		each(t, l, more, got)
		if got[0].Position != got[2].Position || !got[2].Duplicate {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("one event alone is no batch", func(t *testing.T) {
		publishAll(t, l, ofBatch("o", 1, 1))
		if all := streamOf(t, l); last(all[len(all)-1].header, batchID) != "" {
			t.Error("it is one")
		}
	})
}

// TestWayIn02WhatIsNotEndedIsNotStored: no event of a batch that a gateway begins and does not end is stored,
// and such a batch does not keep its events from being stored afterwards.
func TestWayIn02WhatIsNotEndedIsNotStored(t *testing.T) {
	l := allTogether(t, node(t, t.TempDir()), AtomicAlways)
	events := ofBatch("k", 10, 3)
	for round := range 5 {
		m := manyOf(t, l, events)
		all := m.messages(randomID())
		all = all[:2*round+1]
		for _, one := range all {
			if err := l.pub.conn().PublishMsg(one); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.pub.conn().Flush(); err != nil {
			t.Fatal(err)
		}
	}
	receipts := publishAll(t, l, events)
	if got := len(streamOf(t, l)); got != len(events) {
		t.Errorf("%d events are stored, want %d", got, len(events))
	}
	each(t, l, events, receipts)
}

func manyOf(t *testing.T, l *Log, events []broker.Outgoing) *many {
	t.Helper()
	m := &many{log: l, app: l.apps.Of("app-1")}
	m.parcels = make([]parcel, len(events))
	for i, e := range events {
		if err := l.pack(m.app, e, &m.parcels[i]); err != nil {
			t.Fatal(err)
		}
		m.parcels[i].begin(l, m.app)
	}
	return m
}

// TestWayIn02LostAcknowledgement: a batch whose acknowledgement was lost is not stored again, not even if the
// log was made to forget its ids meanwhile.
func TestWayIn02LostAcknowledgement(t *testing.T) {
	l := allTogether(t, node(t, t.TempDir()), AtomicAlways)
	events := ofBatch("k", 10, 3)
	m := manyOf(t, l, events)
	got, err := m.attempt(t.Context(), false)
	if err != nil || got.count != 10 {
		t.Fatal(got, err)
	}
	if _, err := m.attempt(t.Context(), false); !m.singly(err) {
		t.Errorf("the batch again: got %v", err)
	}
	if _, err := m.attempt(t.Context(), true); !errors.Is(err, errApart) {
		t.Errorf("the batch again, when it is not sure: got %v", err)
	}
	each(t, l, events, publishAll(t, l, events))
}

// dropper is a connection that loses some writes, as a server does whose leader changes in the middle of a
// batch.
type dropper struct {
	net.Conn
	lose *atomic.Pointer[func(p []byte) bool]
}

func (d dropper) Write(p []byte) (int, error) {
	if lose := d.lose.Load(); lose != nil && (*lose)(p) {
		return len(p), nil
	}
	return d.Conn.Write(p)
}

type dropping struct {
	server *embedded.Server
	lose   atomic.Pointer[func(p []byte) bool]
}

func (d *dropping) InProcessConn() (net.Conn, error) {
	c, err := d.server.InProcessConn()
	return dropper{c, &d.lose}, err
}

// TestR31BatchesOnALossyWay: a batch of which messages or acknowledgements are lost is stored once as a whole
// or not at all, in order.
func TestR31BatchesOnALossyWay(t *testing.T) {
	fault.Seeds(t, 31, func(t *testing.T, rnd *rand.Rand) {
		d := &dropping{server: node(t, t.TempDir())}
		l := allTogether(t, d.server, AtomicAlways, nats.InProcessServer(d))
		for round := range 6 {
			var lost atomic.Int32
			at := int32(rnd.IntN(12))
			lose := func(p []byte) bool {
				// One write begins with the first message that was queued.
				return strings.HasPrefix(string(p), "HPUB ") && lost.Add(1)-1 == at
			}
			d.lose.Store(&lose)
			events := ofBatch(fmt.Sprint("r", round), 2+rnd.IntN(40), 1+rnd.IntN(5))
			receipts, err := l.Publish(t.Context(), "app-1", events...)
			d.lose.Store(nil)
			stored := 0
			for _, m := range streamOf(t, l) {
				if strings.HasPrefix(last(m.header, headerEvent), fmt.Sprint("r", round, "-")) {
					stored++
				}
			}
			if err == nil && stored != len(events) || err != nil && stored != 0 && stored != len(events) {
				t.Errorf("round %d: %d of %d events are stored, and the answer is %v", round, stored, len(events), err)
			}
			if err == nil {
				each(t, l, events, receipts)
				inOrder(t, events, receipts)
			}
		}
	})
}

func inOrder(t *testing.T, events []broker.Outgoing, receipts []broker.Receipt) {
	t.Helper()
	before := map[string]uint64{}
	for i, r := range receipts {
		c := events[i].Channel
		if r.Position.Offset <= before[c] {
			t.Errorf("event %d of %s has offset %d, one before it %d", i, c, r.Position.Offset, before[c])
		}
		before[c] = r.Position.Offset
	}
}

// TestWayIn02TheSettingOfTheStream: the stream's setting for atomic batches follows the configuration. An
// existing stream is changed where batches are to be stored atomically, and one that was edited by hand is
// put back. Servers that do not know the setting are not asked for it.
func TestWayIn02TheSettingOfTheStream(t *testing.T) {
	s := node(t, t.TempDir())
	allows := func(l *Log) bool {
		stream, err := l.js.Stream(t.Context(), l.apps.Of("app-1").stream)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config.AllowAtomicPublish
	}
	plain := allTogether(t, s, AtomicReplicated)
	if allows(plain) {
		t.Error("a stream with one replica takes batches as a whole")
	}
	_ = plain.Close()
	l := allTogether(t, s, AtomicAlways)
	if !allows(l) {
		t.Error("an existing stream was not changed")
	}
	config := l.apps.Of("app-1").info.Load().Config
	config.AllowAtomicPublish = false
	if _, err := l.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	events := ofBatch("k", 10, 3)
	each(t, l, events, publishAll(t, l, events))
	if all := streamOf(t, l); last(all[0].header, batchID) == "" || !allows(l) {
		t.Error("the setting was not put back before a batch was stored")
	}
	opt := options(s)
	opt.Atomic = AtomicAlways
	i, err := Inspect(t.Context(), opt, Use{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range i.Streams {
		if one.For == "app app-1" && len(one.Report.Changed) > 0 {
			t.Errorf("sluice doctor finds fault with it: %v", one.Report.Changed)
		}
	}
	_ = l.Close() // so that no other log checks the level
	l.level = 1
	if want := l.wanted(*l.apps.Of("app-1").limits.Load()); want.AllowAtomicPublish || l.takesTogether(l.apps.Of("app-1"), 5) {
		t.Error("a server of 2.11 is asked for it")
	}
}

// TestWayIn02AnswersToABatch: the server's answer to a batch decides how its events are sent next.
func TestWayIn02AnswersToABatch(t *testing.T) {
	l := allTogether(t, node(t, t.TempDir()), AtomicAlways)
	for code, want := range map[jetstream.ErrorCode]struct{ singly, again bool }{
		batchDuplicate: {singly: true}, batchTooLarge: {singly: true}, batchUnsupported: {singly: true},
		batchIncomplete: {again: true}, batchDisabled: {again: true}, duplicateInProcess: {again: true},
		10122: {}, // a limit of the account
	} {
		m := manyOf(t, l, ofBatch("k", 2, 2))
		err := fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400, ErrorCode: code})
		if got := m.singly(err); got != want.singly {
			t.Errorf("%d: one by one %v", code, got)
		}
		if got := m.giveUp(err, 0) == nil; !want.singly && got != want.again {
			t.Errorf("%d: tried again %v", code, got)
		}
	}
	if l.takesTogether(l.apps.Of("app-1"), 5) {
		t.Error("a server that takes no ids in batches is asked again")
	}
	if m := manyOf(t, l, ofBatch("k", 2, 2)); m.giveUp(context.DeadlineExceeded, 0) != nil {
		t.Error("no answer is final")
	}
}

// TestWayIn02BatchesBesideTheLibrary: a batch written past the library is the one that the library would
// write, and leaves no trace on its events.
func TestWayIn02BatchesBesideTheLibrary(t *testing.T) {
	s, opt := external(t)
	opt.Atomic = AtomicAlways
	l := open(t, opt)
	conn, err := nats.Connect(s.ClientURL(), opt.ConnectOptions...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sub, err := conn.SubscribeSync("twin.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for about, c := range map[string]struct {
		change func(all []parcel)
		beside bool
	}{
		"as usual":              {func([]parcel) {}, true},
		"two events":            {func([]parcel) {}, true},
		"a line in a header":    {func(all []parcel) { all[1].m.Header["Event"] = []string{"a\r\nb"} }, false},
		"one that is too large": {func(all []parcel) { all[1].size = int(l.pub.conn().MaxPayload()) }, false},
		"too much together":     {func(all []parcel) { all[0].size = carriedBytes }, false},
	} {
		m := manyOf(t, l, ofBatch("", 12, 3))
		if about == "two events" {
			m.parcels = m.parcels[:2]
		}
		for i := range m.parcels {
			m.parcels[i].m.Subject = fmt.Sprint("twin.", i)
		}
		c.change(m.parcels)
		var got [2][]*nats.Msg
		for k := range got {
			before := l.pub.conn().Stats().OutMsgs
			l := &letter{number: 77, stream: "none", ended: make(chan *letter, 1)}
			done, err := false, error(nil)
			if k == 0 {
				done, err = m.log.pub.publishTogether(m.log.pub.conn(), m.parcels, "an id", replyTo(m.log.send.inbox, l.number))
				if done != c.beside {
					t.Errorf("%s: beside the library %v", about, done)
				}
			}
			if !done && err == nil {
				err = m.log.send.deliverTogether(m.log.pub.conn(), m.messages("an id"), l)
				m.single()
			}
			if err != nil {
				t.Fatal(err)
			}
			if own := m.log.pub.conn().Stats().OutMsgs == before; own != done {
				t.Errorf("%s: written beside the library %v, said %v", about, own, done)
			}
			for range m.parcels {
				one, err := sub.NextMsg(time.Minute)
				if err != nil {
					t.Fatalf("%s: %v", about, err)
				}
				got[k] = append(got[k], one)
			}
		}
		for i, one := range got[0] {
			if twin := got[1][i]; one.Subject != twin.Subject || one.Reply != twin.Reply || !reflect.DeepEqual(one.Header, twin.Header) || string(one.Data) != string(twin.Data) {
				t.Errorf("%s: piece %d is %+v, want %+v", about, i, one, twin)
			}
			if p := m.parcels[i].m; p.Reply != "" || last(p.Header, batchID)+last(p.Header, batchSequence)+last(p.Header, batchCommit) != "" {
				t.Errorf("%s: an event has become a piece for good: %+v", about, p)
			}
		}
	}
	before := l.pub.conn().Stats().OutMsgs
	events := ofBatch("k", 10, 3)
	each(t, l, events, publishAll(t, l, events))
	if sent := l.pub.conn().Stats().OutMsgs - before; sent >= uint64(len(events)) {
		t.Errorf("the library sent %d messages for a batch", sent)
	}
	for _, one := range streamOf(t, l) {
		if last(one.header, batchID) == "" {
			t.Errorf("%d was not stored as a whole", one.offset)
		}
	}
}

// TestWayIn02PlainAckOfABatch: the bundled server's acknowledgement of a batch is read without reflection.
func TestWayIn02PlainAckOfABatch(t *testing.T) {
	l := allTogether(t, node(t, t.TempDir()), AtomicAlways)
	m := manyOf(t, l, ofBatch("", 3, 3))
	all := m.messages("an id")
	for _, one := range all[:2] {
		if err := l.pub.conn().PublishMsg(one); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := l.pub.conn().RequestMsg(all[2], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := plainAck(answer.Data, m.app.stream); !ok || got.offset != 3 || got.count != 3 {
		t.Errorf("%s is read as %+v, %t", answer.Data, got, ok)
	}
}
