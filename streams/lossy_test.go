package streams

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

// sink keeps the publications and gaps of a feed.
type sink struct {
	mu   sync.Mutex
	got  []*broker.Publication
	gaps []broker.Gap
}

func (s *sink) Publication(p *broker.Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, p)
}

func (s *sink) Gap(g broker.Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = append(s.gaps, g)
}

func (s *sink) all() ([]*broker.Publication, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*broker.Publication(nil), s.got...), len(s.gaps)
}

func awaitTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

// TestR3LostLiveMessages drops one live message in a hundred, repeats some and swaps some, also the last ones
// of their channels. Every event is delivered nevertheless, once and in order.
func TestR3LostLiveMessages(t *testing.T) {
	const channels, each = 8, 400
	fault.Seeds(t, 3, func(t *testing.T, rnd *rand.Rand) {
		s := node(t, t.TempDir())
		opt := options(s)
		opt.Apps[0].MaxMessages = 10 * each
		opt.AuditInterval = 200 * time.Millisecond
		var mu sync.Mutex
		var late *nats.Msg
		opt.Disturb = func(m *nats.Msg, deliver func(*nats.Msg)) {
			mu.Lock()
			defer mu.Unlock()
			switch dice := rnd.IntN(100); {
			case dice == 0: // lost
			case dice == 1: // doubled
				deliver(m)
				deliver(m)
			case dice == 2 && late == nil: // held back
				late = m
			default:
				deliver(m)
				if late != nil {
					deliver(late)
					late = nil
				}
			}
		}
		reader, writer := open(t, opt), open(t, options(s))
		sinks := make([]*sink, channels)
		for i := range sinks {
			sinks[i] = &sink{}
			at, err := reader.Attach(t.Context(), "app-1", fmt.Sprint("c", i), sinks[i])
			if err != nil {
				t.Fatal(err)
			}
			defer at.Detach()
		}
		for k := range each {
			for i := range sinks {
				ev := &broker.Event{Name: "e", Data: []byte(fmt.Sprint(k))}
				if _, err := writer.Publish(t.Context(), "app-1", broker.Outgoing{Channel: fmt.Sprint("c", i), Event: ev}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, sk := range sinks {
			awaitTrue(t, fmt.Sprint("channel ", i, " is complete"), func() bool {
				got, _ := sk.all()
				return len(got) >= each
			})
			got, gaps := sk.all()
			if len(got) != each || gaps > 0 {
				t.Fatalf("channel %d got %d publications and %d gaps", i, len(got), gaps)
			}
			for k, p := range got {
				if string(p.Data) != fmt.Sprint(k) {
					t.Fatalf("channel %d: publication %d is %s", i, k, p.Data)
				}
			}
		}
		if reader.Stats().Repaired == 0 {
			t.Error("nothing had to be repaired, so nothing was tested")
		}
	})
}

// TestForgedHeaders publishes raw messages with headers that only the server may write.
func TestForgedHeaders(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	sk := &sink{}
	at, err := l.Attach(t.Context(), "app-1", "c", sk)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	for i, forged := range []nats.Header{
		{"Nats-Sequence": {"999"}}, {"Nats-Last-Sequence": {"7"}}, {"Nats-Subject": {"ch.other.c"}}, {"Nats-Stream": {"CH_other"}},
		{"Status": {"204"}}, {"Status": {"404"}, "Nats-Num-Pending": {"0"}}, {"Nats-Time-Stamp": {"1999-01-01T00:00:00Z"}},
		{"Nats-Num-Pending": {"12"}}, {"Nats-UpTo-Sequence": {"1"}},
	} {
		m := &nats.Msg{Subject: SubjectOf("app-1", "c"), Header: forged, Data: []byte(fmt.Sprint(i))}
		if _, err := l.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatalf("%v: %v", forged, err)
		}
	}
	awaitTrue(t, "all have come", func() bool { got, _ := sk.all(); return len(got) >= 9 })
	got, gaps := sk.all()
	page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100})
	if err != nil || gaps > 0 || len(got) != 9 || len(page.Publications) != 9 {
		t.Fatalf("live %d with %d gaps, history %+v, %v", len(got), gaps, page, err)
	}
	for i, p := range page.Publications {
		if string(p.Data) != fmt.Sprint(i) || p.Offset != got[i].Offset || !p.Time.Equal(got[i].Time) || p.Time.Year() < 2020 {
			t.Errorf("publication %d: live %+v, in history %+v", i, got[i], p)
		}
	}
	after, err := l.After(t.Context(), "app-1", "c", broker.Position{Epoch: got[0].Epoch, Offset: got[2].Offset}, 100)
	if err != nil || len(after.Publications) != 6 {
		t.Errorf("after the third: %+v, %v", after, err)
	}
}

// TestCutAnswers: an answer whose end is missing is an error, never a short page.
func TestCutAnswers(t *testing.T) {
	s := node(t, t.TempDir())
	l := open(t, options(s))
	for i := range 20 {
		ev := &broker.Event{Name: "e", Data: []byte(fmt.Sprint(i))}
		if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: ev}); err != nil {
			t.Fatal(err)
		}
	}
	// This subscription answers in place of the server, and stops in the middle.
	api := "CUT.API."
	sub, err := l.feed.conn().Subscribe(api+"DIRECT.GET.>", func(m *nats.Msg) {
		real, err := l.reader.fetch(t.Context(), StreamOf("app-1"), getRequest{Seq: 1, NextFor: SubjectOf("app-1", "c"), Batch: 5})
		if err != nil {
			t.Error(err)
			return
		}
		for _, r := range real {
			_ = l.feed.conn().PublishMsg(&nats.Msg{Subject: m.Reply, Header: r.header, Data: r.data})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	cut := &reader{link: l.read, api: api, timeout: 200 * time.Millisecond, slots: broker.NewShare(1)}
	if got, err := cut.page(t.Context(), StreamOf("app-1"), SubjectOf("app-1", "c"), 1, 20); err == nil {
		t.Errorf("a cut answer gave %d messages and no error", len(got))
	}
}

// TestEvictionBeforeTheFirstPublication: events evicted before any arrived are a gap like any other. The
// publication at which the attachment began proves what follows it, or its absence shows the gap.
func TestEvictionBeforeTheFirstPublication(t *testing.T) {
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps[0].MaxMessages = 10
	var seen atomic.Int64
	opt.Disturb = func(m *nats.Msg, deliver func(*nats.Msg)) {
		if seen.Add(1) > 20 {
			deliver(m)
		}
	}
	writing := options(s)
	writing.Apps[0].MaxMessages = 10
	reader, writer := open(t, opt), open(t, writing)
	publish := func(n int) {
		t.Helper()
		ev := &broker.Event{Name: "e", Data: []byte(fmt.Sprint(n))}
		if _, err := writer.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: ev}); err != nil {
			t.Fatal(err)
		}
	}
	publish(0)
	sk := &sink{}
	at, err := reader.Attach(t.Context(), "app-1", "c", sk)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Detach()
	for n := range 20 {
		publish(n + 1)
	}
	publish(21)
	awaitTrue(t, "the last publication has come", func() bool {
		got, _ := sk.all()
		return len(got) > 0 && string(got[len(got)-1].Data) == "21"
	})
	got, gaps := sk.all()
	if gaps != 1 || string(got[0].Data) == "1" {
		t.Errorf("%d publications from %s on and %d gaps, want those that are left and one gap", len(got), got[0].Data, gaps)
	}
}
