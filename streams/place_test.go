package streams

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

var truePlace = place{stream: "CH_app", subject: "ch.app.c", offset: 7, prev: 5, pending: 3, time: time.Date(2026, 11, 25, 1, 2, 3, 4, time.UTC)}

// onAPage returns the header block of a publisher's message on a page of several messages.
func onAPage(block string) []byte {
	whole := composed([]byte(block), truePlace)
	return fmt.Appendf(whole[:len(whole)-2], "Nats-Num-Pending: %d\r\nNats-Last-Sequence: %d\r\n\r\n", truePlace.pending, truePlace.prev)
}

// placeAfter returns the place that is read from a publisher's header block after the library has parsed it.
func placeAfter(block string) (place, error) {
	whole := onAPage(block)
	h, err := nats.DecodeHeadersMsg(whole)
	if err != nil {
		h = nil // the message comes without headers
	}
	return placeIn(h, len(whole), truePlace.stream, truePlace.subject)
}

// FuzzPlace: whatever a publisher puts before the server's header lines, the message gets its true place, or
// none that is believed.
func FuzzPlace(f *testing.F) {
	for _, b := range hostileBlocks("c") {
		f.Add(b.block)
	}
	for n := range 200 {
		f.Add("NATS/1.0\r\n" + strings.Repeat("A:b\r\n", n) + forgedLines("c", 9) + "\r\nX: y\r\n\r\n")
	}
	f.Fuzz(func(t *testing.T, block string) {
		p, err := placeAfter(block)
		if err == nil && p != truePlace {
			t.Fatalf("block %q: place %+v", block, p)
		}
		if errors.Is(err, errPlaceless) {
			t.Fatalf("block %q: taken for no message of the log", block)
		}
		whole := composed([]byte(block), truePlace)
		if h, err := readBlock(whole); err == nil && (last(h, nats.JSSequence) != "7" || last(h, nats.JSTimeStamp) == "") {
			t.Fatalf("block %q is read as %v", block, h)
		}
	})
}

// TestOrdinaryPlacesAreSeen: the place of an ordinary message is read without a further request.
func TestOrdinaryPlacesAreSeen(t *testing.T) {
	for name, block := range map[string]string{
		"none":           "",
		"no lines":       "NATS/1.0\r\n\r\n",
		"one":            "NATS/1.0\r\nEvent: tick\r\n\r\n",
		"without spaces": "NATS/1.0\r\nEvent:tick\r\nTags:{}\r\n\r\n",
		"twenty":         "NATS/1.0\r\n" + strings.Repeat("Header: value\r\n", 20) + "\r\n",
	} {
		if p, err := placeAfter(block); err != nil || p != truePlace {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// FuzzBlocksOnAServer publishes header blocks on a real server. Readers get the same, live and by page, and
// the events around them arrive.
func FuzzBlocksOnAServer(f *testing.F) {
	for _, b := range hostileBlocks("c") {
		f.Add(b.block)
	}
	s := listening(f)
	l, err := Open(f.Context(), Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 100}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	n := 0
	f.Fuzz(func(t *testing.T, block string) {
		if len(block) == 1 {
			t.Skip("a server that republishes ends itself; see docs/security.md")
		}
		n++
		channel := fmt.Sprint("f", n)
		got := attachSink(t, l, channel)
		publishText(t, l, channel, "before")
		raw := dialWire(t, s.ClientURL())
		stored := !strings.Contains(raw.publish(SubjectOf("app-1", channel), block, "odd"), "error")
		publishText(t, l, channel, "after")
		page, err := l.Read(t.Context(), "app-1", channel, broker.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		want := texts(t, page.Publications)
		if stored && len(want) != 3 || !stored && len(want) != 2 || want[0] != "before" || want[len(want)-1] != "after" {
			t.Fatalf("block %q: history has %q", block, want)
		}
		awaitTexts(t, got, want)
		if _, gaps := got.all(); gaps > 0 {
			t.Errorf("block %q: %d gaps", block, gaps)
		}
		if stored {
			checkHistory(t, l, channel, got, want)
		}
	})
}

func BenchmarkPlaceOf(b *testing.B) {
	ev := &broker.Event{Name: "tick", Data: []byte("{}"), Origin: broker.OriginHTTP, Node: "node-1", Tags: map[string]string{"a": "b"}}
	m, err := encode("ch.app.c", ev, "abcdefghijklmnopqrstuv")
	if err != nil {
		b.Fatal(err)
	}
	block := "NATS/1.0\r\n"
	for k, v := range m.Header {
		block += k + ": " + v[0] + "\r\n"
	}
	whole := onAPage(block + "\r\n")
	h, err := nats.DecodeHeadersMsg(whole)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := placeIn(h, len(whole), truePlace.stream, truePlace.subject); err != nil {
			b.Fatal(err)
		}
	}
}
