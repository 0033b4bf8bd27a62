package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// copies answers for a log with one replica as several replicas would.
type copies struct {
	t      *testing.T
	reader reader
	conn   *nats.Conn
	real   string
	stream string
	// mine holds the offsets of the channel. The leader has removed the channel's messages below removed.
	mine    []uint64
	removed atomic.Uint64
	// lag returns the last offset that the replica has which answers the nth direct get. asked counts the
	// direct gets.
	lag   atomic.Pointer[func(n int64) uint64]
	asked atomic.Int64
}

// current is the lag of a replica that lacks nothing.
const current = math.MaxUint64

// differing returns a channel with the given offsets of a log whose replicas differ. The audit does not
// overwrite its number of replicas.
func differing(t *testing.T, l *Log, channel string, mine []uint64) (span, *copies) {
	t.Helper()
	s, err := l.span("a", channel)
	if err != nil {
		t.Fatal(err)
	}
	c := &copies{t: t, reader: *l.reader, conn: l.reader.link.conn(), real: l.reader.api, stream: s.app.stream, mine: mine}
	c.differ(func(int64) uint64 { return current })
	for subject, answer := range map[string]func(*nats.Msg){"differing.DIRECT.GET.>": c.direct, "differing.STREAM.MSG.GET.>": c.leader} {
		sub, err := c.conn.Subscribe(subject, answer)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	c.reader.api = "differing."
	own := &appLog{opt: s.app.opt, stream: s.app.stream, root: s.app.root}
	own.epoch.Store(s.app.epoch.Load())
	own.info.Store(s.app.info.Load())
	own.copies.Store(3)
	s.log, s.app = &Log{ctx: t.Context(), opt: l.opt, reader: &c.reader, feed: l.feed, epochs: l.epochs, admin: l.admin}, own
	return s, c
}

// differ sets the replicas that answer direct gets, and counts these from the first one again.
func (c *copies) differ(lag func(n int64) uint64) {
	c.lag.Store(&lag)
	c.asked.Store(0)
}

func (c *copies) send(m *nats.Msg) {
	if err := c.conn.PublishMsg(m); err != nil {
		c.t.Error(err)
	}
}

func (c *copies) forward(m *nats.Msg, inbox string, q getRequest) {
	body, _ := json.Marshal(q)
	c.send(&nats.Msg{Subject: c.real + strings.TrimPrefix(m.Subject, "differing."), Reply: inbox, Data: body})
}

func (c *copies) asks(m *nats.Msg) (q getRequest) {
	if err := json.Unmarshal(m.Data, &q); err != nil {
		c.t.Error(err)
	}
	return q
}

// leader answers as a leader that has removed messages, although the stream still has them.
func (c *copies) leader(m *nats.Msg) {
	q, removed := c.asks(m), c.removed.Load()
	switch {
	case !strings.HasSuffix(m.Subject, "."+c.stream):
	case q.NextFor != "":
		q.Seq = max(q.Seq, removed)
	case q.LastFor != "" && c.mine[len(c.mine)-1] < removed, q.Seq > 0 && q.Seq < removed:
		c.send(&nats.Msg{Subject: m.Reply, Data: []byte(`{"error":{"code":404,"err_code":10037}}`)})
		return
	}
	c.forward(m, m.Reply, q)
}

// direct answers as the replica whose turn it is.
func (c *copies) direct(m *nats.Msg) {
	q, known := c.asks(m), (*c.lag.Load())(c.asked.Add(1))
	if known == current {
		c.forward(m, m.Reply, q)
		return
	}
	single := q.Batch == 0 && len(q.MultiLast) == 0
	if q.LastFor != "" {
		i, _ := slices.BinarySearch(c.mine, known+1)
		q = getRequest{Seq: c.mine[i-1]}
	}
	inbox := c.conn.NewInbox()
	sub, err := c.conn.Subscribe(inbox, func(a *nats.Msg) {
		p, err := placeOf(a, c.stream, "")
		switch {
		case err == nil && p.offset > known && !single:
			return
		case err == nil && p.offset > known:
			a = &nats.Msg{Header: nats.Header{"Status": {"404"}}}
		case err == nil:
			from, _ := slices.BinarySearch(c.mine, p.offset+1)
			to, _ := slices.BinarySearch(c.mine, known+1)
			a.Header.Set("Nats-Num-Pending", fmt.Sprint(max(to-from, 0)))
		}
		a.Subject, a.Reply = m.Reply, ""
		c.send(a)
	})
	if err != nil {
		c.t.Error(err)
		return
	}
	c.t.Cleanup(func() { _ = sub.Unsubscribe() })
	c.forward(m, inbox, q)
}

// event is a message's offset and time.
type event struct {
	offset uint64
	time   time.Time
}

// amongOthers publishes events of a channel, in groups among those of other channels.
func amongOthers(t *testing.T, l *Log, rnd *rand.Rand, n int) (all []event, offsets []uint64) {
	t.Helper()
	for have := 0; have < n; {
		heap := 1 + rnd.IntN(80)
		if _, err := numbered(l, "mine", have, heap); err != nil {
			t.Fatal(err)
		}
		if have += heap; rnd.IntN(3) == 0 {
			if _, err := numbered(l, "others", 0, 1+rnd.IntN(300)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for from := uint64(1); ; from = offsets[len(offsets)-1] + 1 {
		got, err := l.reader.page(t.Context(), l.apps.Of("a").stream, SubjectOf("a", "mine"), from, widePage)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return all, offsets
		}
		for _, m := range got {
			all, offsets = append(all, event{m.offset, m.time}), append(offsets, m.offset)
		}
	}
}

// selected returns the offsets that a query selects of all events.
func selected(all []event, q broker.Query) (out []uint64, more bool) {
	for _, e := range all {
		if e.offset >= q.From && (q.To == 0 || e.offset <= q.To) &&
			(q.Since.IsZero() || !e.time.Before(q.Since)) && (q.Until.IsZero() || !e.time.After(q.Until)) {
			out = append(out, e.offset)
		}
	}
	if q.NewestFirst {
		slices.Reverse(out)
	}
	more = len(out) > q.Limit
	return out[:min(len(out), q.Limit)], more
}

// anyQuery returns a query with random bounds within the events.
func anyQuery(rnd *rand.Rand, all []event) broker.Query {
	q := broker.Query{NewestFirst: rnd.IntN(2) == 0, Limit: 1 + rnd.IntN(100)}
	if rnd.IntN(2) == 0 {
		q.Limit = 1 + rnd.IntN(600)
	}
	x, y := rnd.IntN(len(all)), rnd.IntN(len(all))
	x, y = min(x, y), max(x, y)
	switch rnd.IntN(4) {
	case 1:
		q.From = all[x].offset
	case 2:
		q.Since = all[x].time
	}
	switch rnd.IntN(4) {
	case 1:
		q.To = all[y].offset
	case 2:
		q.Until = all[y].time
	case 3:
		q.To = all[y].offset + rnd.Uint64N(5)
	}
	return q
}

// TestTime05PagesOfCopiesThatDiffer: some of the answers that make up a page come from a replica that is
// behind. Before, a page back from a bound lacked its newest events, one with a lower time and an upper bound
// had none, and others were shorter than requested. Whatever is requested, and whichever replica answers
// which part, a page is what the leader has.
func TestTime05PagesOfCopiesThatDiffer(t *testing.T) {
	const seed = 7
	t.Log("seed ", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	l, _ := long(t, -1)
	all, offsets := amongOthers(t, l, rnd, 1200)
	s, c := differing(t, l, "mine", offsets)
	for range 60 {
		lag, often := 1+rnd.IntN(600), 2+rnd.IntN(3)
		stale := make([]bool, 20)
		for i := range stale {
			stale[i] = rnd.IntN(often) == 0
		}
		c.differ(func(n int64) uint64 {
			if n < int64(len(stale)) && stale[n] {
				return offsets[len(offsets)-1-lag]
			}
			return current
		})
		q := anyQuery(rnd, all)
		for range 3 {
			want, more := selected(all, q)
			page := chosen(t, s, q)
			got := offsetsOf(page)
			if !slices.Equal(got, want) || page.More != more {
				t.Fatalf("%+v, %d behind: %d events (more: %t), want %d (%t)", q, lag, len(got), page.More, len(want), more)
			}
			if !more {
				break
			}
			if q.NewestFirst {
				q.To = got[len(got)-1] - 1
			} else {
				q.From = got[len(got)-1] + 1
			}
		}
	}
}

// chosen reads a page and repeats that while the replicas contradict each other. Sooner or later all replicas
// have everything.
func chosen(t *testing.T, s span, q broker.Query) *broker.Page {
	t.Helper()
	for {
		page, err := s.choose(t.Context(), q)
		if err == nil {
			return page
		}
		if !errors.Is(err, errStale) {
			t.Fatalf("%+v: %v", q, err)
		}
	}
}

// TestTime05APageBackIsFull: a page back is full, whichever of the answers needed for it came from a replica
// that is behind. Before, the numbers of messages after its two bounds were taken from two replicas that
// differed, so the search began too near to its upper bound, and the page had one event instead of 300.
func TestTime05APageBackIsFull(t *testing.T) {
	l, _ := long(t, -1)
	all, offsets := amongOthers(t, l, rand.New(rand.NewPCG(9, 1)), 1200)
	s, c := differing(t, l, "mine", offsets)
	for _, known := range []uint64{offsets[550], offsets[650]} {
		for nth := range int64(8) {
			c.differ(func(n int64) uint64 {
				if n == nth+1 {
					return known
				}
				return current
			})
			q := broker.Query{NewestFirst: true, To: offsets[600], Limit: 300}
			want, more := selected(all, q)
			if page := chosen(t, s, q); !slices.Equal(offsetsOf(page), want) || page.More != more {
				t.Errorf("answer %d is of a copy that ends at %d: %d events (more: %t), want %d (%t)",
					nth+1, known, len(page.Publications), page.More, len(want), more)
			}
		}
	}
}

// TestTime05WhatWasRemovedIsNotShownAgain: replicas that are behind still have messages that their leader
// removed, a part of a channel or all of it. Before, their answers were believed.
func TestTime05WhatWasRemovedIsNotShownAgain(t *testing.T) {
	const seed = 8
	t.Log("seed ", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	l, _ := long(t, -1)
	all, offsets := amongOthers(t, l, rnd, 400)
	s, c := differing(t, l, "mine", offsets)
	info, err := l.streamInfo(t.Context(), s.app)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []int{150, 1, 0} {
		below := offsets[len(offsets)-1] + 1
		if kept > 0 {
			below = offsets[len(offsets)-kept]
		}
		c.removed.Store(below)
		if err := l.noteCut(t.Context(), cutKey("a", "mine"), cut{epochOf(info, ""), below}); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			q := anyQuery(rnd, all)
			want, more := selected(all[len(all)-kept:], q)
			page, err := s.choose(t.Context(), q)
			if err != nil {
				t.Fatalf("%d kept, %+v: %v", kept, q, err)
			}
			if got := offsetsOf(page); !slices.Equal(got, want) || page.More != more {
				t.Fatalf("%d kept, %+v: %v (more: %t), want %v (%t)", kept, q, got, page.More, want, more)
			}
			if r := page.Retained; kept > 0 && r.Oldest != below || kept == 0 && (r.Oldest > 0 || r.Newest > 0) {
				t.Fatalf("%d kept from %d on: the log has %+v", kept, below, r)
			}
		}
		for i := 0; i < len(all); i += 1 + rnd.IntN(40) {
			e := all[i]
			pos := broker.Position{Epoch: s.app.currentEpoch(), Offset: e.offset}
			page, err := s.settled(t.Context(), func(now broker.Retained) (*broker.Page, error) { return s.spread(now).after(t.Context(), pos, 10) },
				func(p *broker.Page, r broker.Retained) bool { return !p.More && r.Newest > pos.Offset })
			switch gone := e.offset+1 < below; {
			case gone && !errors.Is(err, broker.ErrPositionExpired):
				t.Fatalf("%d kept, after %d: %v", kept, i, err)
			case !gone && err != nil:
				t.Fatalf("%d kept, after %d: %v", kept, i, err)
			case err == nil && !slices.Equal(offsetsOf(page), offsets[i+1:min(i+11, len(offsets))]):
				t.Fatalf("%d kept, after %d: %v", kept, i, offsetsOf(page))
			}
		}
	}
}

// TestTime01APurgeRemovesWhatACopyDoesNotHaveYet: a purge first measures the messages. Before, if the replica
// that answered had none of them, nothing was removed, and the purge succeeded all the same.
func TestTime01APurgeRemovesWhatACopyDoesNotHaveYet(t *testing.T) {
	l, _ := long(t, -1)
	got, err := numbered(l, "mine", 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	offsets := []uint64{got[0].Offset, got[1].Offset, got[2].Offset}
	s, c := differing(t, l, "mine", offsets)
	c.differ(func(int64) uint64 { return 0 })
	for before, want := range map[uint64]uint64{0: offsets[2] + 1, offsets[1]: offsets[1], offsets[0]: 0} {
		below, oldest, err := s.weigh(t.Context(), before)
		switch {
		case err != nil:
			t.Fatal(err)
		case (len(oldest) > 0) != (want > 0), want > 0 && below != want:
			t.Errorf("below %d: %d messages below %d, want those below %d", before, len(oldest), below, want)
		}
	}
}
