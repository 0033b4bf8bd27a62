package streams

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
)

// wire is a raw connection to a NATS server that sends what no client library would.
type wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dialWire(t testing.TB, address string) *wire {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{t: t, conn: conn, in: bufio.NewReader(conn)}
	w.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB acks 1\r\nPING\r\n")
	w.until("PONG")
	return w
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := w.conn.Write([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// until reads lines up to one that begins with prefix, and returns that.
func (w *wire) until(prefix string) string {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
		if strings.HasPrefix(line, "-ERR") {
			w.t.Fatalf("the server says %s", line)
		}
	}
}

// publish sends a message with a header block, waits for the log's answer and returns it. A refusal contains
// the word error.
func (w *wire) publish(subject, block, data string) string {
	w.t.Helper()
	w.send(fmt.Sprintf("HPUB %s acks %d %d\r\n%s%s\r\n", subject, len(block), len(block)+len(data), block, data))
	for {
		switch answer := w.until(""); {
		case strings.HasPrefix(answer, "{"):
			return answer
		case strings.HasPrefix(answer, "-ERR"):
			return "error: " + answer
		}
	}
}

// listening starts an embedded server that any client can reach.
func listening(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(context.Background(), embedded.Options{Port: -1, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// hostileBlock is a header block with the expected fate of its message.
type hostileBlock struct {
	name, block string
	// reads says that the event is delivered.
	reads bool
}

// forgedLines returns the server's headers as a publisher would forge them.
func forgedLines(channel string, sequence uint64) string {
	return fmt.Sprintf("Nats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2038-01-01T00:00:00Z\r\nNats-Last-Sequence: %d\r\nNats-Num-Pending: 0\r\n",
		StreamOf("app-1"), SubjectOf("app-1", channel), sequence, sequence-1)
}

func hostileBlocks(channel string) []hostileBlock {
	const start, end = "NATS/1.0\r\n", "\r\n\r\n"
	return []hostileBlock{
		{name: "Trust01 an empty line in the middle", block: start + "A: b\r\n\r\nX: y" + end},
		{name: "Trust01 an empty line at once", block: start + "\r\nX: y" + end},
		{name: "Trust01 an empty line of a bare line feed", block: start + "A: b\n\nX: y" + end},
		{name: "Trust01 a line without a colon", block: start + "no colon" + end},
		{name: "Trust01 no line of NATS", block: "HTTP/1.1 200\r\nA: b" + end},
		{name: "Trust01 nothing but a line end", block: "\r\n", reads: true},
		{name: "Trust01 no end", block: start + "A: bXX", reads: true},
		{name: "Trust01 no end and no colon", block: start + "bXX"},
		{name: "Trust01 no end of the first line", block: "NATS/1.0XX"},
		{name: "Trust01 a folded line", block: start + "A: b\r\n folded" + end},
		{name: "Trust01 a folded line with a colon", block: start + "A: b\r\n folded: c" + end, reads: true},
		{name: "Trust01 zero bytes", block: start + "A: \x00\r\n\x00: b" + end, reads: true},
		{name: "Trust01 bytes that are not text", block: start + "A: \xff\xfe" + end, reads: true},
		{name: "Trust01 empty names", block: start + strings.Repeat(": x\r\n", 100) + "\r\n", reads: true},
		{name: "Trust01 many lines", block: start + strings.Repeat("A: b\r\n", 500) + "\r\n", reads: true},
		{name: "Trust01 many lines without spaces", block: start + strings.Repeat("A:b\r\n", 500) + "\r\n", reads: true},
		{name: "Trust01 much space", block: start + "A:" + strings.Repeat(" ", 1000) + "b" + end, reads: true},
		{name: "Trust01 a large block", block: start + "A: " + strings.Repeat("x", 50000) + end, reads: true},
		{name: "Trust01 a status", block: "NATS/1.0 503 No Responders" + end, reads: true},
		{name: "Trust01 the end of a page", block: "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 7" + end, reads: true},
		{name: "Trust01 the end of a page and an empty line", block: "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 7\r\n\r\nX: y" + end},
		{name: "Trust01 no message and an empty line", block: "NATS/1.0 404 Message Not Found\r\n\r\nX: y" + end},
		{name: "Trust01 a status that is too short", block: "NATS/1.0 5" + end, reads: true},
		{name: "Trust03 a place", block: start + forgedLines(channel, 999999) + "\r\n", reads: true},
		{name: "Trust03 a place and an empty line", block: start + forgedLines(channel, 999999) + "\r\nX: y" + end},
		{name: "Trust03 a place and a line end", block: start + forgedLines(channel, 999999) + end},
		{name: "Trust03 a place below and an empty line", block: start + forgedLines(channel, 1) + "\r\nX: y" + end},
		{name: "Trust03 the next place and an empty line", block: start + forgedLines(channel, 2) + "\r\nX: y" + end},
		{name: "Trust03 the place after the next", block: start + forgedLines(channel, 3) + "\r\nX: y" + end},
		{name: "Trust03 many lines without spaces before", block: start + strings.Repeat("A:b\r\n", 500) + forgedLines(channel, 999999) + "\r\nX: y" + end},
		{name: "Trust03 a place without spaces", block: start + strings.ReplaceAll(forgedLines(channel, 999999), ": ", ":") + "\r\nX: y" + end},
		{name: "Trust03 a place behind a status", block: "NATS/1.0 100 Idle Heartbeat\r\n" + forgedLines(channel, 999999) + "\r\nX: y" + end},
		{name: "Trust03 a place and no end", block: start + forgedLines(channel, 999999) + "A: bXX", reads: true},
		{name: "Trust03 a place in another case", block: start + strings.ToLower(forgedLines(channel, 999999)) + "\r\n", reads: true},
		{name: "Trust03 another stream and no end", block: start + "Nats-Stream: OTHER\r\nA: bXX", reads: true},
	}
}

func TestTrust01HeadersThatCannotBeRead(t *testing.T) { blocksAreHarmless(t, "Trust01") }

func TestTrust03ForgedPlaces(t *testing.T) { blocksAreHarmless(t, "Trust03") }

// TestTrust02UnreadableNewestMessages: an unreadable newest message does not keep a channel from being
// served.
func TestTrust02UnreadableNewestMessages(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}}
	raw := dialWire(t, s.ClientURL())
	l := open(t, opt)
	const channel = "#sluice-orders"
	for _, b := range hostileBlocks(channel) {
		if answer := raw.publish(SubjectOf("app-1", channel), b.block, "odd"); strings.Contains(answer, "error") {
			t.Fatalf("%s is not stored: %s", b.name, answer)
		}
		_ = l.Close()
		l = open(t, opt)
		got := attachSink(t, l, channel)
		publishText(t, l, channel, "after "+b.name)
		awaitTexts(t, got, []string{"after " + b.name})
	}
}

// blocksAreHarmless publishes header blocks that no client library would send, each between two ordinary
// events. Live, by page and after a restart, readers get the ordinary events and the offset of the odd one,
// without delay, and other channels are not affected.
func blocksAreHarmless(t *testing.T, kind string) {
	of := func(channel string) []hostileBlock {
		return slices.DeleteFunc(hostileBlocks(channel), func(b hostileBlock) bool { return !strings.HasPrefix(b.name, kind) })
	}
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}, RepairTimeout: 30 * time.Second}
	l := open(t, opt)
	raw := dialWire(t, s.ClientURL())
	other := attachSink(t, l, "other")
	epoch := l.apps.Of("app-1").currentEpoch()
	blocks := of("")
	for i := range blocks {
		channel := fmt.Sprint("c", i)
		b := of(channel)[i]
		t.Run(b.name, func(t *testing.T) {
			got := attachSink(t, l, channel)
			publishText(t, l, channel, "before")
			answer := raw.publish(SubjectOf("app-1", channel), b.block, "odd")
			if strings.Contains(answer, "error") {
				t.Fatalf("not stored: %s", answer)
			}
			publishText(t, l, channel, "after")
			publishText(t, l, "other", channel)
			want := []string{"before", "", "after"}
			if b.reads {
				want[1] = "odd"
			}
			awaitTexts(t, got, want)
			if _, gaps := got.all(); gaps > 0 {
				t.Errorf("%d gaps", gaps)
			}
			checkHistory(t, l, channel, got, want)
			last, gaps := other.all()
			awaitTrue(t, "the other channel has its event", func() bool { last, gaps = other.all(); return len(last) == i+1 })
			if gaps > 0 {
				t.Error("another channel has a gap")
			}
		})
	}
	// Another gateway starts and reads what is stored.
	again := open(t, opt)
	for i, b := range blocks {
		channel := fmt.Sprint("c", i)
		want := []string{"before", "", "after"}
		if b.reads {
			want[1] = "odd"
		}
		checkHistory(t, again, channel, nil, want)
		got := attachSink(t, again, channel)
		publishText(t, again, channel, "later")
		awaitTexts(t, got, []string{"later"})
	}
	// The newest message of a channel is an odd one when a sink attaches.
	for i := range blocks {
		channel := fmt.Sprint("c", i)
		raw.publish(SubjectOf("app-1", channel), of(channel)[i].block, "odd")
	}
	third := open(t, opt)
	for i := range blocks {
		channel := fmt.Sprint("c", i)
		got := attachSink(t, third, channel)
		publishText(t, third, channel, "last")
		awaitTexts(t, got, []string{"last"})
	}
	for _, log := range []*Log{l, again, third} {
		if now := log.apps.Of("app-1").currentEpoch(); now != epoch {
			t.Errorf("a new life of the log: %s, was %s", now, epoch)
		}
		if h := log.Health(); !h.Ready {
			t.Errorf("not ready: %v", h.Problems)
		}
		if n := log.Stats(); n.GapsEvicted+n.GapsEpoch+n.GapsUnavailable > 0 {
			t.Errorf("gaps: %+v", n)
		}
	}
	if l.Stats().Skipped == 0 {
		t.Error("nothing was counted as skipped")
	}
}

// TestAValueEndsWhereItsPublisherEndsIt: the server takes the last two bytes of a header block for its end
// and puts its own lines there. These lines must not appear as a part of the publisher's values, whether
// live, by page or at a gateway that starts later.
func TestAValueEndsWhereItsPublisherEndsIt(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}}
	l := open(t, opt)
	raw := dialWire(t, s.ClientURL())
	got := attachSink(t, l, "c")
	const start = "NATS/1.0\r\n"
	own := "Nats-Stream: " + StreamOf("app-1") + "\r\n"
	blocks := []struct{ block, name string }{
		{start + "Event: tick\r\n\r\n", "tick"},
		{start + "Event: tick\r\n", "tick"},
		{start + "Event: tick", "tick"},
		{start + own + "Event: tick\r\n", "tick"},
		{start + own + "Event: tick", "tick"},
		{start + forgedLines("c", 999999) + "Event: tick", "tick"},
		{start + own + "Tags: {\"a\":\"b\"}\r\nEvent: x" + strings.TrimSuffix(own, "\r\n") + "\r\n\r\n", "x" + strings.TrimSuffix(own, "\r\n")},
		{start + "Event: ti", "ti"},
	}
	for i, b := range blocks {
		if answer := raw.publish(SubjectOf("app-1", "c"), b.block, fmt.Sprint(i)); strings.Contains(answer, "error") {
			t.Fatalf("%q is not stored: %s", b.block, answer)
		}
	}
	var want []string
	for _, b := range blocks {
		want = append(want, b.name)
	}
	names := func(all []*broker.Publication) (out []string) {
		for _, p := range all {
			out = append(out, p.Event.Name+p.Skipped)
		}
		return out
	}
	awaitTrue(t, "all of them arrive", func() bool { all, _ := got.all(); return len(all) == len(want) })
	if all, _ := got.all(); !slices.Equal(names(all), want) {
		t.Errorf("live: %q, want %q", names(all), want)
	}
	for _, log := range []*Log{l, open(t, opt)} {
		page, err := log.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(names(page.Publications), want) {
			t.Errorf("by page: %q, want %q", names(page.Publications), want)
		}
	}
}

func attachSink(t testing.TB, l *Log, channel string) *sink {
	t.Helper()
	s := &sink{}
	at, err := l.Attach(t.Context(), "app-1", channel, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Detach)
	return s
}

func publishText(t testing.TB, l *Log, channel, text string) {
	t.Helper()
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(text)}}); err != nil {
		t.Fatal(err)
	}
}

// texts returns the data of publications. A skipped one must have no data and a reason.
func texts(t testing.TB, all []*broker.Publication) []string {
	t.Helper()
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = string(p.Data)
		if (p.Skipped != "") != (out[i] == "") {
			t.Errorf("publication %d with data %q is skipped for %q", p.Offset, p.Data, p.Skipped)
		}
		if i > 0 && p.Offset <= all[i-1].Offset {
			t.Errorf("offset %d follows %d", p.Offset, all[i-1].Offset)
		}
	}
	return out
}

func awaitTexts(t *testing.T, s *sink, want []string) {
	t.Helper()
	awaitTrue(t, fmt.Sprintf("%d events have come", len(want)), func() bool { got, _ := s.all(); return len(got) >= len(want) })
	got, _ := s.all()
	if have := texts(t, got); strings.Join(have, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", have, want)
	}
}

// checkHistory reads a channel in every possible way. Events seen live must have the same offsets and skip
// reasons there.
func checkHistory(t *testing.T, l *Log, channel string, live *sink, want []string) {
	t.Helper()
	read := func(what string, page *broker.Page, err error) []*broker.Publication {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return page.Publications
	}
	page, err := l.Read(t.Context(), "app-1", channel, broker.Query{Limit: 100})
	oldest := read("oldest first", page, err)
	if have := texts(t, oldest); strings.Join(have, "|") != strings.Join(want, "|") {
		t.Errorf("history has %q, want %q", have, want)
		return
	}
	page, err = l.Read(t.Context(), "app-1", channel, broker.Query{Limit: 100, NewestFirst: true})
	newest := read("newest first", page, err)
	page, err = l.After(t.Context(), "app-1", channel, oldest[0].Position, 100)
	after := read("after a position", page, err)
	page, err = l.Read(t.Context(), "app-1", channel, broker.Query{Limit: 100, Since: oldest[1].Time, Until: oldest[1].Time})
	within := read("within a time", page, err)
	retained, err := l.Retained(t.Context(), "app-1", channel)
	switch {
	case err != nil || retained.Messages != uint64(len(want)) || retained.Oldest != oldest[0].Offset || retained.Newest != oldest[len(want)-1].Offset:
		t.Errorf("retained: %+v, %v", retained, err)
	case len(newest) != len(want) || len(after) != len(want)-1 || len(within) != 1 || within[0].Offset != oldest[1].Offset:
		t.Errorf("%d newest first, %d after the first, %d within a time; want %d, %d and 1", len(newest), len(after), len(within), len(want), len(want)-1)
	}
	for i, p := range oldest {
		if back := newest[len(want)-1-i]; back.Offset != p.Offset || back.Skipped != p.Skipped || back.Name != p.Name {
			t.Errorf("newest first has %+v, oldest first %+v", back, p)
		}
		if live == nil {
			continue
		}
		got, _ := live.all()
		if g := got[i]; g.Position != p.Position || g.Skipped != p.Skipped || !g.Time.Equal(p.Time) || g.Name != p.Name {
			t.Errorf("live: %+v, in history: %+v", g, p)
		}
	}
}

// TestTrust04AnswersWhereOnlyGatewaysWrite: the log answers a publish with the rights of the server. At the
// embedded server no publisher can direct that answer to the table, the epochs, the orders, the queues or the
// live subjects.
func TestTrust04AnswersWhereOnlyGatewaysWrite(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}}}}
	l := open(t, opt)
	epoch := l.apps.Of("app-1").currentEpoch()
	got := attachSink(t, l, "c")
	for _, reply := range []string{
		"$KV.sluice_epochs.app-1", "$KV.cluster.register", "$KV.counters.app-1.c", "gw.app-1", "rtgw.app-1", "work.x", "ep.app-1.0.c", "rtkv.x", "rtctr.x", LiveSubjectOf("app-1", "c"),
	} {
		for _, message := range []string{"PUB %s %s 1\r\nx\r\n", "HPUB %s %s 12 13\r\nNATS/1.0\r\n\r\nx\r\n"} {
			raw := dialWire(t, s.ClientURL())
			raw.send(fmt.Sprintf(message, SubjectOf("app-1", "c"), reply))
			_ = raw.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if line, err := raw.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-ERR") {
				t.Errorf("an answer on %s: %q, %v", reply, line, err)
			}
		}
	}
	publishText(t, l, "c", "ordinary")
	awaitTexts(t, got, []string{"ordinary"})
	if now := open(t, opt).apps.Of("app-1").currentEpoch(); now != epoch {
		t.Errorf("a new life: %s, was %s", now, epoch)
	}
}
