package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/kvtest"
)

func TestTable(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Table {
		table, err := open(t, options(node(t, t.TempDir()))).OpenTable(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return table
	})
}

// audited counts how often it was told that writes may have been missed.
type audited struct {
	mu   *sync.Mutex
	told int
}

func (*audited) Changed(kv.Record) {}

func (a *audited) Lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told++
}

// TestTrust18AuditsAreFair has more watchers than one audit tells. Every watcher has its turn before any has
// its next one.
func TestTrust18AuditsAreFair(t *testing.T) {
	opt := options(node(t, t.TempDir()))
	opt.AuditInterval = 10 * time.Millisecond
	table, err := open(t, opt).OpenTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	all := make([]*audited, 5*tableAudit)
	for i := range all {
		all[i] = &audited{mu: &mu}
		stop, err := table.Watch(fmt.Sprintf("seat.a.room%d.>", i), all[i])
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	// The first watchers were audited while the last ones were being added.
	mu.Lock()
	for _, a := range all {
		a.told = 0
	}
	mu.Unlock()
	seen := func() (least, most int) {
		mu.Lock()
		defer mu.Unlock()
		least = all[0].told
		for _, a := range all {
			least, most = min(least, a.told), max(most, a.told)
		}
		return least, most
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for least, most := 0, 0; least < 6; least, most = seen() {
		// A watcher that was added in the middle of a round waits for the next one.
		if most > least+2 {
			t.Fatalf("one watcher was audited %d times, another one %d times", most, least)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute a watcher was audited %d times", least)
		}
	}
}

// TestTrust15AListingAsksWhereTheEndIs reads a table page by page. The first page comes from the leader, or
// not even that, and the others from a replica that is behind. A record that was rewritten before the first
// page was read is on none of these pages, and the listing must have it nevertheless.
func TestTrust15AListingAsksWhereTheEndIs(t *testing.T) {
	const many, few = 2*listPage + 7, 5
	for _, test := range []struct{ records, moved, known int }{
		{many, 0, 1}, {many, 1, 1}, {many, 3, 1}, {many, 2 * listPage, 1}, {many, 3, 2}, {many, 3, 0}, {few, 1, 0}, {few, few, 0}, {few, 0, 0},
	} {
		records, moved := test.records, test.moved
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			table, err := open(t, options(node(t, t.TempDir()))).OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var last uint64
			for i := range records {
				if last, err = table.Put(t.Context(), fmt.Sprint("seat.a.", i), []byte("old"), 0); err != nil {
					t.Fatal(err)
				}
			}
			for i := range moved {
				if _, err := table.Put(t.Context(), fmt.Sprint("seat.a.", i), []byte("new"), 0); err != nil {
					t.Fatal(err)
				}
			}
			behind(t, table.log.reader, table.stream, last, test.known)
			got, err := table.List(t.Context(), "seat.>")
			if err != nil || len(got) != records {
				t.Fatalf("%d records, %v; want %d", len(got), err, records)
			}
			for _, r := range got {
				var i int
				if _, err := fmt.Sscanf(r.Key, "seat.a.%d", &i); err != nil || (string(r.Value) == "new") != (i < moved) {
					t.Errorf("%s is %s, %v", r.Key, r.Value, err)
				}
			}
		})
	}
}

// behind has a replica answer that lacks the writes after revision last. The first few requests, and requests
// to the leader, are answered in full.
func behind(t *testing.T, reader *reader, stream string, last uint64, first int) {
	t.Helper()
	real := reader.api
	forward := func(m *nats.Msg, known uint64) {
		inbox := reader.link.conn().NewInbox()
		answers, err := reader.link.conn().SubscribeSync(inbox)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = answers.Unsubscribe() }()
		ask := &nats.Msg{Subject: real + strings.TrimPrefix(m.Subject, "behind."), Reply: inbox, Data: m.Data}
		if err := reader.link.conn().PublishMsg(ask); err != nil {
			t.Error(err)
			return
		}
		var q getRequest
		if err := json.Unmarshal(m.Data, &q); err != nil {
			t.Error(err)
			return
		}
		single := q.Batch == 0 && len(q.MultiLast) == 0
		for {
			a, err := answers.NextMsg(time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			p, err := placeOf(a, stream, "")
			stored := err == nil
			if stored && p.offset > known {
				if !single {
					continue
				}
				a, stored = &nats.Msg{Header: nats.Header{"Status": {"404"}}}, false
			}
			if stored && known != math.MaxUint64 {
				a.Header.Set("Nats-Num-Pending", fmt.Sprint(last-p.offset))
			}
			a.Subject, a.Reply = m.Reply, ""
			if err := reader.link.conn().PublishMsg(a); err != nil {
				t.Error(err)
				return
			}
			if !stored || single {
				return
			}
		}
	}
	var asked atomic.Int64
	for subject, known := range map[string]func() uint64{
		"behind.DIRECT.GET.>":     func() uint64 { return map[bool]uint64{true: math.MaxUint64, false: last}[asked.Add(1) <= int64(first)] },
		"behind.STREAM.MSG.GET.>": func() uint64 { return math.MaxUint64 },
	} {
		sub, err := reader.link.conn().Subscribe(subject, func(m *nats.Msg) { go forward(m, known()) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	reader.api = "behind."
	t.Cleanup(func() { reader.api = real })
}

// TestWritesForSlowWatchersAreBounded: before, sixteen thousand writes of 64 KiB could be queued for each of
// four goroutines.
func TestWritesForSlowWatchersAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &Log{ctx: ctx, wake: follow.NewBell(), writesLost: follow.NewBell()}
	sub := &nats.Subscription{}
	s := &tableShard{
		in: make(chan *nats.Msg), queue: follow.NewQueue[tableWrite](10, 100),
		watches: map[*nats.Subscription]*tableWatch{sub: {}},
	}
	var taking sync.WaitGroup
	taking.Go(func() { s.take(l) })
	for range 3 {
		s.in <- &nats.Msg{Sub: sub, Data: make([]byte, 60)}
	}
	awaitTrue(t, "what is too much is known", func() bool { return l.stats.Slow.Load() == 2 })
	select {
	case <-l.writesLost:
	default:
		t.Error("nobody is told that writes were missed")
	}
	if len(l.wake) > 0 {
		t.Error("the logs of all apps are read because of the table")
	}
	if n := s.queue.Len(); n != 1 {
		t.Errorf("%d writes wait, want one", n)
	}
	cancel()
	taking.Wait()
}
