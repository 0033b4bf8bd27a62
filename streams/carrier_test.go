package streams

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
)

// external starts a server that is reached through the network.
func external(t *testing.T) (*embedded.Server, Options) {
	t.Helper()
	s, err := embedded.Start(context.Background(), embedded.Options{StoreDir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	opt := options(s)
	var set nats.Options
	for _, o := range s.ConnectOptions() {
		if err := o(&set); err != nil {
			t.Fatal(err)
		}
	}
	opt.URLs, opt.ConnectOptions = []string{s.ClientURL()}, []nats.Option{nats.UserInfo(set.User, set.Password)}
	return s, opt
}

// told is a sink that records the stack of the goroutine that calls it.
type told struct {
	prompt atomic.Bool
	by     chan string
}

func (s *told) Prompt() bool { return s.prompt.Load() }
func (s *told) Publication(*broker.Publication) {
	stack := make([]byte, 64<<10)
	s.by <- string(stack[:runtime.Stack(stack, false)])
}
func (s *told) Gap(broker.Gap) {}

// busy reports whether the relay is delivering or has messages queued.
func (r *relay) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.giving || r.shard.queue.Len() > 0
}

// TestWayIn04WhoReadsGives: the goroutine that reads from NATS calls the sink itself if nothing is queued,
// unless the sink may block. Acknowledgements are always passed on by it.
func TestWayIn04WhoReadsGives(t *testing.T) {
	for name, connect := range map[string]func() Options{
		"within the process":  func() Options { return options(node(t, t.TempDir())) },
		"through the network": func() Options { _, opt := external(t); return opt },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, connect())
			sink := &told{by: make(chan string, 1)}
			at, err := l.Attach(t.Context(), "app-1", "c", sink)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Detach()
			for i := range 6 {
				for _, s := range l.shards { // until the previous message is done
					for s.relay.busy() {
						runtime.Gosched()
					}
				}
				sink.prompt.Store(i%2 == 0)
				if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("1")}}); err != nil {
					t.Fatal(err)
				}
				by := <-sink.by
				if reads := strings.Contains(by, "(*carrier).Read"); reads != sink.prompt.Load() {
					t.Errorf("event %d, prompt %v: told by\n%s", i, sink.prompt.Load(), by)
				}
			}
		})
	}
}

// TestWayIn04MessagesBesideTheLibrary: a message written past the NATS library arrives like one that the
// library writes.
func TestWayIn04MessagesBesideTheLibrary(t *testing.T) {
	s, opt := external(t)
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
	h := func(pairs ...string) nats.Header {
		out := nats.Header{}
		for i := 0; i < len(pairs); i += 2 {
			out.Add(pairs[i], pairs[i+1])
		}
		return out
	}
	for i, c := range []struct {
		header nats.Header
		data   string
		beside bool
	}{
		{h("Event", "e"), "1", true},
		{h("Event", "e", "Tags", `{"a":"ü"}`, "Nats-Msg-Id", "x"), strings.Repeat("x", 1000), true},
		{h("Event", "e"), "", true},
		{h("Many", "1", "Many", "2", "Many", ""), "\r\nPUB x 1\r\n", true},
		{h("Event", "e"), strings.Repeat("x", carriedBytes), true},
		{h("Event", "e"), strings.Repeat("x", carriedBytes+1), false},
		{h("Event", "a\r\nOrigin: http"), "1", false},
		{h("Event", "a\nb"), "1", false},
		{nil, "1", false},
	} {
		m := &nats.Msg{Subject: fmt.Sprintf("twin.%d", i), Reply: fmt.Sprintf("answer.%d", i), Header: c.header, Data: []byte(c.data)}
		var got [2]*nats.Msg
		for k, alone := range []bool{true, false} {
			beside := false
			// The log's own messages may be pending for a moment.
			for range 1000 {
				before := l.pub.conn().Stats().OutMsgs
				if err := l.pub.publish(l.pub.conn(), m, alone); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
				beside = l.pub.conn().Stats().OutMsgs == before
				if got[k], err = sub.NextMsg(time.Minute); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
				if beside == (alone && c.beside) {
					break
				}
			}
			if beside != (alone && c.beside) {
				t.Errorf("%d, alone %v: beside the library: %v", i, alone, beside)
			}
		}
		a, b := got[0], got[1]
		if a.Subject != b.Subject || a.Reply != b.Reply || !reflect.DeepEqual(a.Header, b.Header) || !bytes.Equal(a.Data, b.Data) {
			t.Errorf("%d: got %+v and %+v", i, a, b)
		}
	}
	if err := l.pub.publish(l.pub.conn(), &nats.Msg{Subject: "two words", Header: h("a", "b")}, true); err == nil {
		t.Error("a subject with a space was sent")
	}
}

// TestWayIn04LiveEventsVouch: an event that came live vouches for other events as long as an event does that
// was looked up when the live one was stored.
func TestWayIn04LiveEventsVouch(t *testing.T) {
	p := &parcel{m: &nats.Msg{Subject: "x"}}
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{-time.Hour, true}, {0, true}, {sureFor, false}, {time.Hour, false}} {
		s := &assurance{begun: make(chan struct{}, 1)}
		s.saw(c.age)
		// If it vouches at all, it does so from now on.
		if got := !s.until.IsZero(); got != c.want {
			t.Errorf("%v old: vouches %v, want %v", c.age, got, c.want)
		}
		s.until = s.until.Add(time.Hour)
		if got := s.vouched(p, 0); got != c.want {
			t.Errorf("%v old: vouched %v, want %v", c.age, got, c.want)
		}
		until := s.until
		if s.saw(0); s.until.Before(until) {
			t.Error("one that vouches for less time takes some away")
		}
	}
}

// TestWayIn04OnlyPlainConnectionsAreWritten: connections other than TCP, and encrypted ones, are left to the
// library.
func TestWayIn04OnlyPlainConnectionsAreWritten(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	w := &carrier{Conn: a}
	if done, err := w.publish(&nats.Msg{Subject: "x", Header: nats.Header{"a": {"b"}}}); done || err != nil {
		t.Errorf("a pipe was written: %v", err)
	}
	go func() { _, _ = b.Read(make([]byte, 1024)) }()
	_ = w.SetDeadline(time.Now().Add(time.Minute))
	_, _ = w.Write([]byte{0x16, 3, 1, 0, 1, 0})
	if w.plain.Load() {
		t.Error("the beginning of TLS is taken for the protocol")
	}
}

// TestWayIn04WhatWasDeliveredIsNotLookedUp: an event that came live in its channel before its acknowledgement
// is not looked up. Both travel together and are read at once.
func TestWayIn04WhatWasDeliveredIsNotLookedUp(t *testing.T) {
	_, opt := external(t)
	opt.AuditInterval = time.Hour
	l := open(t, opt)
	a := l.apps.Of("app-1")
	sink := &told{by: make(chan string, 1)}
	sink.prompt.Store(true)
	at, err := l.Attach(t.Context(), "app-1", "c", sink)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	const n = 20
	asked, answered := l.read.conn().Stats().OutMsgs, l.pub.conn().Stats().InMsgs
	for range n {
		a.sure.mu.Lock()
		a.sure.until = time.Time{} // nothing vouches for it
		a.sure.mu.Unlock()
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		<-sink.by
	}
	// Audits look at the stream now and then.
	if looks := l.read.conn().Stats().OutMsgs - asked; looks > n/2 {
		t.Errorf("%d messages were sent to look up %d events", looks, n)
	}
	if answers := l.pub.conn().Stats().InMsgs - answered; answers > n/2 {
		t.Errorf("%d of %d acknowledgements came by themselves", answers, n)
	}
}

// TestWayIn04PlacesAndSubjects: a delivered message is recognized by its offset and its subject together.
func TestWayIn04PlacesAndSubjects(t *testing.T) {
	var w witness
	if w.inPlace(0, "ch.a.c") || w.inPlace(7, "ch.a.c") {
		t.Error("nothing was delivered, and something is in place")
	}
	w.gave(7, "ch.a.c")
	for _, c := range []struct {
		offset  uint64
		subject string
		want    bool
	}{{7, "ch.a.c", true}, {7, "ch.a.d", false}, {8, "ch.a.c", false}, {7 + uint64(len(w.placed)), "ch.a.c", false}} {
		if got := w.inPlace(c.offset, c.subject); got != c.want {
			t.Errorf("%d of %s: %v, want %v", c.offset, c.subject, got, c.want)
		}
	}
	w.restart(9)
	if w.inPlace(7, "ch.a.c") {
		t.Error("what was delivered in another life is in place in this one")
	}
}

// holding is a sink whose first call blocks until leave is closed.
type holding struct {
	entered, leave chan struct{}
	left           atomic.Bool
	times          atomic.Int32
}

func (s *holding) Prompt() bool { return true }
func (s *holding) Publication(*broker.Publication) {
	if s.times.Add(1) == 1 {
		close(s.entered)
	}
	<-s.leave
	s.left.Store(true)
}
func (s *holding) Gap(broker.Gap) {}

// TestWayIn04CloseWaitsForWhoReads: the library's reading goroutine calls the sinks. Once a log is closed, no
// sink is called any more.
func TestWayIn04CloseWaitsForWhoReads(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func() Options{
		"within the process":  func() Options { return options(node(t, t.TempDir())) },
		"through the network": func() Options { _, opt := external(t); return opt },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, connect())
			sink := &holding{entered: make(chan struct{}), leave: make(chan struct{})}
			if _, err := l.Attach(t.Context(), "app-1", "c", sink); err != nil {
				t.Fatal(err)
			}
			publishText(t, l, "c", "1")
			<-sink.entered
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_ = l.Close()
			}()
			awaitTrue(t, "it waits", func() bool {
				if l.inline.mu.TryRLock() {
					l.inline.mu.RUnlock()
					return false
				}
				return true
			})
			select {
			case <-closed:
				t.Error("it is closed while a sink is being told")
			default:
			}
			close(sink.leave)
			<-closed
			if !sink.left.Load() {
				t.Error("it was closed before a sink had been told")
			}
			times := sink.times.Load()
			l.feed.tell()
			if l.inline.enter() || sink.times.Load() != times {
				t.Error("somebody may still tell")
			}
		})
	}
}
