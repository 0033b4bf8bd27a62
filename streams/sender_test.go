package streams

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

func TestReadAck(t *testing.T) {
	for _, c := range []struct {
		text string
		want ack
		err  error
		code jetstream.ErrorCode
	}{
		{text: `{"stream":"CH_a", "seq":17}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_a", "seq":17,"duplicate": true}`, want: ack{stream: "CH_a", offset: 17, duplicate: true}},
		{text: `{"stream":"CH_a", "seq":17,"batch":"x","count":3}`, want: ack{stream: "CH_a", offset: 17, count: 3}},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":12}`, want: ack{stream: "CH_a", offset: 17, count: 12}},
		{text: `{"stream":"CH_a","domain":"hub","seq":17,"batch":"","count":1000}`, want: ack{stream: "CH_a", offset: 17, count: 1000}},
		{text: `{"stream":"CH_a","seq":17,"batch":"a\"b","count":3}`, want: ack{stream: "CH_a", offset: 17, count: 3}},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":3,"val":"4"}`, want: ack{stream: "CH_a", offset: 17, count: 3}},
		{text: `{"stream":"CH_a","seq":17,"count":3,"batch":"x"}`, want: ack{stream: "CH_a", offset: 17, count: 3}},
		{text: `{"stream":"CH_a","seq":17,"batch":"x"}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":03}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":3`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":17,"batch":"x","count":99999999999999999999}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a", "domain":"hub", "seq":17}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_b", "seq":17}`, want: ack{stream: "CH_b", offset: 17}},
		{text: `{"stream":"CH_a2", "seq":17}`, want: ack{stream: "CH_a2", offset: 17}},
		{text: `{"stream":"CH_a","seq":17}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_a","seq":17,"duplicate": true}`, want: ack{stream: "CH_a", offset: 17, duplicate: true}},
		{text: `{"stream":"CH_a","seq":17,"duplicate":true}`, want: ack{stream: "CH_a", offset: 17, duplicate: true}},
		{text: `{"stream":"CH_a","seq":17,"duplicate": false}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_a","domain":"hub","seq":17}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"stream":"CH_a","domain":"h\"ub","seq":17,"duplicate": true}`, want: ack{stream: "CH_a", offset: 17, duplicate: true}},
		{text: `{"stream":"CH_a","domain":"hub"}`, want: ack{stream: "CH_a"}},
		{text: `{"stream":"CH_a","seq":17`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":17}}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a","seq":17,"val":"4"}`, want: ack{stream: "CH_a", offset: 17}},
		{text: `{"seq":17}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a", "seq":-1}`, err: jetstream.ErrInvalidJSAck},
		{text: `{"stream":"CH_a", "seq":99999999999999999999}`, err: jetstream.ErrInvalidJSAck},
		{text: ``, err: jetstream.ErrInvalidJSAck},
		{text: `{"error":{"code":400,"err_code":10054,"description":"too large"},"stream":"CH_a","seq":0}`, code: messageTooLarge},
	} {
		got, err := readAck(&nats.Msg{Data: []byte(c.text)}, "CH_a")
		var api *jetstream.APIError
		errors.As(err, &api)
		if got != c.want || c.code == 0 && !errors.Is(err, c.err) || c.code != 0 && (api == nil || api.ErrorCode != c.code) {
			t.Errorf("%s: got %+v, %v", c.text, got, err)
		}
	}
	_, err := readAck(&nats.Msg{Header: nats.Header{statusHeader: {noResponders}}}, "CH_a")
	if !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("nobody there: got %v", err)
	}
}

// TestPlainAckIsThatOfTheServer: the acknowledgements of the bundled server are read without reflection.
func TestPlainAckIsThatOfTheServer(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	a := l.apps.Of("app-1")
	for again := range 2 {
		m := nats.NewMsg(publishSubject("", "app-1", "c"))
		m.Header.Set(nats.MsgIdHdr, "one")
		answer, err := l.pub.conn().RequestMsg(m, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := plainAck(answer.Data, a.stream)
		if !ok || got.offset == 0 || got.duplicate != (again == 1) {
			t.Errorf("%s is read as %+v, %t", answer.Data, got, ok)
		}
	}
}

// TestSenderTakesAllOrNone: several letters are admitted together or not at all.
func TestSenderTakesAllOrNone(t *testing.T) {
	l := open(t, options(node(t, t.TempDir())))
	s, ended := l.send, make(chan *letter, 8)
	three := func(weight int64) []letter {
		return []letter{{ended: ended, weight: weight}, {ended: ended, weight: weight}, {ended: ended, weight: weight}}
	}
	first := three(sendingBytes / 4)
	if !s.enterAll(t.Context(), first) {
		t.Fatal("there was room")
	}
	if s.enterAll(t.Context(), three(sendingBytes/8)) {
		t.Error("there was room for two alone")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if s.enterAll(canceled, three(sendingLeast)) {
		t.Error("who has given up has entered")
	}
	for i := range first {
		s.forget(&first[i])
	}
	if s.room != sendingBytes {
		t.Errorf("%d bytes of room are left", s.room)
	}
	s.close()
	if s.enterAll(t.Context(), three(sendingLeast)) {
		t.Error("somebody has entered after the end")
	}
}

// TestLineUp: the events of one channel are sent one after the other, whatever their number.
func TestLineUp(t *testing.T) {
	for _, n := range []int{1, 2, 10, few, few + 1, 200} {
		m := &many{parcels: make([]parcel, n)}
		for i := range m.parcels {
			m.parcels[i].m = &nats.Msg{Subject: fmt.Sprint(i * i % 7)}
		}
		first := m.lineUp()
		seen := 0
		for _, i := range first {
			for subject := m.parcels[i].m.Subject; ; i = m.next[i] {
				if m.parcels[i].m.Subject != subject {
					t.Fatalf("%d events: %d is not in the channel of those before it", n, i)
				}
				if seen++; m.next[i] == 0 {
					break
				}
				if m.next[i] < i {
					t.Fatalf("%d events: %d comes before %d", n, m.next[i], i)
				}
			}
		}
		if seen != n || len(first) > 4 {
			t.Errorf("%d events: %d are lined up in %d channels", n, seen, len(first))
		}
	}
}

// TestSenderEndsWhatIsNotAnswered: messages without an answer end in the order in which they were sent,
// forgotten ones do not end at all, and no room is lost by either.
func TestSenderEndsWhatIsNotAnswered(t *testing.T) {
	t.Parallel()
	l := open(t, options(node(t, t.TempDir())))
	s := l.send
	ended := make(chan *letter, 4)
	var letters []*letter
	for i := range 4 {
		one := &letter{ended: ended, index: i, stream: "none", weight: sendingLeast}
		if err := s.enter(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		letters = append(letters, one)
	}
	if !s.forget(letters[1]) || s.forget(letters[1]) {
		t.Error("a letter was not forgotten once")
	}
	for _, want := range []int{0, 2, 3} {
		if got := <-ended; got.index != want || !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("got the end of %d with %v, want %d", got.index, got.err, want)
		}
	}
	if s.room != sendingBytes {
		t.Errorf("%d bytes of room are left", s.room)
	}
	s.close()
	if err := s.send(t.Context(), &nats.Msg{Subject: "x"}, &letter{ended: ended, weight: sendingLeast}); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("after the end: got %v", err)
	}
}

// TestSenderWaitsForRoom: a publish that finds no room waits for its turn, and gives the turn up when its
// context ends.
func TestSenderWaitsForRoom(t *testing.T) {
	t.Parallel()
	l := open(t, options(node(t, t.TempDir())))
	s, ended := l.send, make(chan *letter, 8)
	// However long the test takes, no letter times out.
	s.mu.Lock()
	s.armed = true
	s.timer.Stop()
	s.mu.Unlock()
	enter := func(ctx context.Context, weight int64) (*letter, chan error) {
		one, entered := &letter{ended: ended, weight: weight}, make(chan error, 1)
		go func() { entered <- s.enter(ctx, one) }()
		return one, entered
	}
	waits := func(n int) {
		t.Helper()
		for {
			s.mu.Lock()
			queued := len(s.queue)
			s.mu.Unlock()
			if queued == n {
				return
			}
			runtime.Gosched()
		}
	}
	all, entered := enter(t.Context(), sendingBytes)
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, gaveUp := enter(ctx, sendingBytes)
	waits(1)
	_, small := enter(t.Context(), sendingLeast)
	waits(2)
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waits(1)
	if !s.forget(all) {
		t.Error("it did not wait")
	}
	if err := <-small; err != nil {
		t.Error(err)
	}
	_, last := enter(t.Context(), sendingBytes)
	waits(1)
	s.close()
	if err := <-last; !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("at the end: got %v", err)
	}
}

// TestWayIn01OnlyTheOwnChannelWaits: an attempt without an acknowledgement is repeated with its id. Events of
// other channels do not wait for it, those of its own do.
func TestWayIn01OnlyTheOwnChannelWaits(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	// While the stream has other subjects no message is acknowledged. So the first attempts of all fail, and
	// each is repeated.
	a := l.apps.Of("app-1")
	config := a.info.Load().Config
	moved := config
	moved.Subjects, moved.RePublish = []string{"elsewhere"}, nil
	var events []broker.Outgoing
	for i := range 30 {
		events = append(events, broker.Outgoing{Channel: fmt.Sprint("c", i%7), Event: &broker.Event{Name: fmt.Sprint(i), Data: []byte("1")}})
	}
	last := map[string]uint64{}
	// The stream may have been put back before anything was sent.
	for l.Stats().Retries == 0 && !t.Failed() {
		if _, err := l.js.UpdateStream(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		receipts, err := l.Publish(t.Context(), "app-1", events...)
		if err != nil {
			t.Fatal(err)
		}
		risingOffsets(t, events, receipts, last)
	}
}

// TestOwnRetryIsNoDuplicate: an attempt whose acknowledgement comes too late is repeated, and the log already
// has the event. The receipt does not report a duplicate then, unless the publisher gave the event an id.
func TestOwnRetryIsNoDuplicate(t *testing.T) {
	gate := &fault.Gate{}
	s := node(t, t.TempDir())
	opt := options(s)
	opt.ConnectOptions = append(opt.ConnectOptions, nats.InProcessServer(through{s, gate}))
	l := open(t, opt)
	goOn := gate.Shut()
	defer goOn()
	type answer struct {
		receipts []broker.Receipt
		err      error
	}
	answers := make(chan answer, 2)
	for _, channels := range [][]string{{"one"}, {"two", "three"}} {
		var events []broker.Outgoing
		for _, c := range channels {
			events = append(events, broker.Outgoing{Channel: c, Event: &broker.Event{Name: "e", Data: []byte("1")}})
		}
		go func() {
			receipts, err := l.Publish(t.Context(), "app-1", events...)
			answers <- answer{receipts, err}
		}()
	}
	awaitTrue(t, "each is sent again", func() bool { return l.Stats().Retries >= 3 })
	goOn()
	for range 2 {
		got := <-answers
		if got.err != nil {
			t.Error(got.err)
		}
		for _, r := range got.receipts {
			if r.Duplicate {
				t.Errorf("%+v is called a duplicate", r)
			}
		}
	}
	if l.Stats().Duplicates == 0 {
		t.Error("no attempt found the event of the one before")
	}
}

// risingOffsets checks that the events of a channel have rising offsets, above those in last.
func risingOffsets(t *testing.T, events []broker.Outgoing, receipts []broker.Receipt, last map[string]uint64) {
	t.Helper()
	for i, r := range receipts {
		if c := events[i].Channel; r.Position.Offset <= last[c] {
			t.Errorf("event %d of %s has offset %d, one before it %d", i, c, r.Position.Offset, last[c])
		}
		last[events[i].Channel] = r.Position.Offset
	}
}

func publishing(b *testing.B, size int) {
	s := node(&testing.T{}, b.TempDir())
	defer s.Shutdown()
	l, err := Open(context.Background(), options(s))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	data := make([]byte, 1024)
	events := make([]broker.Outgoing, size)
	for i := range events {
		events[i] = broker.Outgoing{Channel: fmt.Sprint("c", i), Event: &broker.Event{Name: "e", Data: data}}
	}
	b.ReportAllocs()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Publish(context.Background(), "app-1", events...); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(b.N*size), "us/event")
}

// BenchmarkPublish publishes single events from several publishers at once.
func BenchmarkPublish(b *testing.B) {
	b.SetParallelism(32)
	publishing(b, 1)
}

// BenchmarkPublishAlone publishes single events from one publisher.
func BenchmarkPublishAlone(b *testing.B) {
	b.SetParallelism(1)
	publishing(b, 1)
}

// BenchmarkPublishBatch publishes batches of ten events of different channels.
func BenchmarkPublishBatch(b *testing.B) {
	b.SetParallelism(32)
	publishing(b, 10)
}

// TestWayIn04AnAnswerThatDoesNotComeBesideIsDoubted: after an acknowledgement failed to come with the feed,
// the next publish does not wait for a feed that hangs.
func TestWayIn04AnAnswerThatDoesNotComeBesideIsDoubted(t *testing.T) {
	s := open(t, options(node(t, t.TempDir()))).send
	ended := make(chan *letter, 1)
	first := &letter{ended: ended, weight: sendingLeast}
	if !s.trusts(first) || !first.beside {
		t.Fatal("nothing comes beside")
	}
	s.mu.Lock()
	s.admit(first, time.Now().Add(-time.Hour))
	s.mu.Unlock()
	s.expire()
	if l := <-ended; l.err == nil {
		t.Error("it did not end")
	}
	if next := (&letter{}); s.trusts(next) || next.beside {
		t.Error("the next answer is to come beside as well")
	}
	s.mu.Lock()
	s.doubted = time.Now().Add(-time.Second)
	s.mu.Unlock()
	if !s.trusts(&letter{}) {
		t.Error("it is doubted for ever")
	}
}
