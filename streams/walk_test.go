package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/streams/embedded"
)

// long returns the log of an app that keeps this number of messages of a channel.
func long(t *testing.T, messages int64) (*Log, *embedded.Server) {
	t.Helper()
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps = []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxMessages: messages, MaxBytes: -1}}
	return open(t, opt), s
}

// numbered publishes n events whose data are their numbers.
func numbered(l *Log, channel string, first, n int) ([]broker.Receipt, error) {
	out := make([]broker.Outgoing, n)
	for i := range out {
		out[i] = broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: strconv.AppendInt(nil, int64(first+i), 10)}}
	}
	return l.Publish(l.ctx, "a", out...)
}

// numberedEvent is an event that a reader must find.
type numberedEvent struct {
	offset uint64
	time   time.Time
	data   string
}

// clock sets the clock.
func (a *ahead) clock(now func() time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now
}

// remembers reports whether messages of a subject are kept from a read-ahead.
func remembers(l *Log, subject string) bool {
	l.ahead.mu.Lock()
	defer l.ahead.mu.Unlock()
	for own := range l.ahead.lines {
		if own.subject == subject {
			return true
		}
	}
	return false
}

// twin is the model of a channel. It has no memory of what was read.
type twin struct {
	name   string
	events []numberedEvent
}

// page returns what a query selects.
func (c *twin) page(q broker.Query) (want []string, more bool) {
	all := slices.Clone(c.events)
	if q.NewestFirst {
		slices.Reverse(all)
	}
	for _, e := range all {
		if e.offset < q.From || q.To > 0 && e.offset > q.To || !q.Since.IsZero() && e.time.Before(q.Since) || !q.Until.IsZero() && e.time.After(q.Until) {
			continue
		}
		if len(want) == q.Limit {
			return want, true
		}
		want = append(want, fmt.Sprint(e.offset, " ", e.data))
	}
	return want, false
}

func shown(page *broker.Page) (out []string) {
	for _, p := range page.Publications {
		out = append(out, fmt.Sprint(p.Offset, " ", string(p.Data)))
	}
	return out
}

// pager goes from page to page of a channel.
type pager struct {
	channel *twin
	q       broker.Query
}

// paging has a log, two channels of it and readers, all of which act at random.
type paging struct {
	*rapid.T
	log      *Log
	now      time.Time
	channels []*twin
	pagers   []*pager
	number   int
	keeps    int
}

func (p *paging) app() *appLog { return p.log.apps.Of("a") }

func (p *paging) publish(c *twin) {
	n := rapid.IntRange(1, 20).Draw(p.T, "events")
	got, err := numbered(p.log, c.name, p.number, n)
	if err != nil {
		p.Fatal(err)
	}
	stored, err := p.log.reader.page(p.log.ctx, p.app().stream, SubjectOf("a", c.name), got[0].Offset, n)
	if err != nil || len(stored) != n {
		p.Fatal(len(stored), err)
	}
	for i, m := range stored {
		c.events = append(c.events, numberedEvent{m.offset, m.time, strconv.Itoa(p.number + i)})
	}
	p.number += n
	c.events = c.events[max(len(c.events)-p.keeps, 0):]
}

// query returns a random query, mostly of existing events.
func (p *paging) query(c *twin) broker.Query {
	q := broker.Query{NewestFirst: rapid.Bool().Draw(p.T, "newest first"), Limit: rapid.IntRange(1, 12).Draw(p.T, "limit")}
	if len(c.events) == 0 {
		return q
	}
	one := func(what string) numberedEvent { return rapid.SampledFrom(c.events).Draw(p.T, what) }
	switch rapid.IntRange(0, 5).Draw(p.T, "bounds") {
	case 0:
		q.From = one("from").offset
	case 1:
		q.To = one("to").offset
	case 2:
		a, b := one("from").offset, one("to").offset
		q.From, q.To = min(a, b), max(a, b)+rapid.Uint64Range(0, 9).Draw(p.T, "beyond")
	case 3:
		q.Since = one("since").time
	case 4:
		q.Until = one("until").time
	}
	return q
}

// read reads a page, compares it with the model, and moves the pager on.
func (p *paging) read(r *pager) {
	page, err := p.log.Read(p.log.ctx, "a", r.channel.name, r.q)
	if err != nil {
		p.Fatal(err)
	}
	want, more := r.channel.page(r.q)
	if got := shown(page); !slices.Equal(got, want) || page.More != more {
		p.Fatalf("%s, %+v:\n%q (more: %t), want\n%q (%t)", r.channel.name, r.q, got, page.More, want, more)
	}
	n := len(page.Publications)
	switch {
	case !more || n == 0:
		r.q = p.query(r.channel)
	case r.q.NewestFirst:
		r.q.To = page.Publications[n-1].Offset - 1
	default:
		r.q.From = page.Publications[n-1].Offset + 1
	}
}

// follow reads all pages after a random position.
func (p *paging) follow(c *twin) {
	if len(c.events) == 0 {
		return
	}
	i := rapid.IntRange(0, len(c.events)-1).Draw(p.T, "position")
	limit := rapid.IntRange(1, 12).Draw(p.T, "limit")
	for more := true; more; {
		pos := broker.Position{Epoch: p.app().currentEpoch(), Offset: c.events[i].offset}
		page, err := p.log.After(p.log.ctx, "a", c.name, pos, limit)
		if err != nil {
			p.Fatal(err)
		}
		var want []string
		if want, more = c.page(broker.Query{From: pos.Offset + 1, Limit: limit}); !slices.Equal(shown(page), want) || page.More != more {
			p.Fatalf("%s after %d:\n%q (more: %t), want\n%q (%t)", c.name, pos.Offset, shown(page), page.More, want, more)
		}
		i += len(want)
	}
}

func (p *paging) purge(c *twin) {
	before := uint64(0)
	if n := len(c.events); n > 0 && rapid.Bool().Draw(p.T, "some") {
		before = c.events[rapid.IntRange(0, n-1).Draw(p.T, "before")].offset
	}
	if _, err := p.log.Purge(p.log.ctx, "a", c.name, before); err != nil {
		p.Fatal(err)
	}
	if len(c.events) > 0 && (before == 0 || before > c.events[0].offset) && remembers(p.log, SubjectOf("a", c.name)) {
		p.Fatal("what was purged is remembered")
	}
	c.events = slices.DeleteFunc(c.events, func(e numberedEvent) bool { return before == 0 || e.offset < before })
}

// TestTime05ReadingAheadShowsWhatTheLogHas: whatever is published, purged and evicted while readers page
// through channels, they see what the log has, like a reader without read-ahead.
func TestTime05ReadingAheadShowsWhatTheLogHas(t *testing.T) {
	const keeps = 90
	l, _ := long(t, keeps)
	round := 0
	var now atomic.Pointer[time.Time] // atomic, because the log's own goroutine reads the clock as well
	now.Store(&time.Time{})
	l.ahead.clock(func() time.Time { return *now.Load() })
	rapid.Check(t, func(t *rapid.T) {
		round++
		p := &paging{T: t, log: l, now: time.Unix(int64(1000*round), 0), keeps: keeps}
		for _, name := range []string{"x", "y"} {
			c := &twin{name: fmt.Sprint(name, round)}
			p.channels = append(p.channels, c)
			p.publish(c)
		}
		for i := range 4 {
			c := p.channels[i%2]
			p.pagers = append(p.pagers, &pager{c, p.query(c)})
		}
		for range rapid.IntRange(10, 40).Draw(t, "steps") {
			at := p.now
			now.Store(&at)
			c := rapid.SampledFrom(p.channels).Draw(t, "channel")
			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "purge", "wait", "follow", "read", "read", "read", "read", "read", "read"}).Draw(t, "what") {
			case "publish":
				p.publish(c)
			case "purge":
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					p.purge(c)
				}
			case "wait":
				p.now = p.now.Add(aheadProof * time.Duration(rapid.IntRange(1, 8).Draw(t, "so long")) / 2)
			case "follow":
				p.follow(c)
			case "read":
				r := rapid.SampledFrom(p.pagers).Draw(t, "reader")
				for range rapid.IntRange(1, 4).Draw(t, "pages") {
					p.read(r)
				}
			}
		}
	})
	if l.Ahead().Given == 0 {
		t.Error("nothing was read ahead")
	}
}

// batches counts the requests for several messages of a channel.
func batches(t *testing.T, s *embedded.Server) func() int {
	t.Helper()
	conn, err := nats.Connect("", s.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	var n atomic.Int64
	if _, err := conn.Subscribe("$JS.API.DIRECT.GET.CH_a", func(m *nats.Msg) {
		var q getRequest
		if json.Unmarshal(m.Data, &q) == nil && q.Batch > 1 && !ofOverlooked(m) {
			n.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	// The server has got each request that it answered, and delivers it here before it answers the flush.
	flush := func() int {
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		// The library calls in turn: after a barrier all requests were counted.
		done := make(chan struct{})
		if err := conn.Barrier(func() { close(done) }); err != nil {
			t.Fatal(err)
		}
		<-done
		return int(n.Load())
	}
	flush()
	return flush
}

// all pages through a channel and returns the offsets and the number of pages.
func all(t *testing.T, l *Log, channel string, q broker.Query) (offsets []uint64, pages int) {
	t.Helper()
	for {
		page, err := l.Read(t.Context(), "a", channel, q)
		if err != nil {
			t.Error(err)
			return offsets, pages
		}
		pages++
		offsets = append(offsets, offsetsOf(page)...)
		if !page.More {
			return offsets, pages
		}
		if last := offsets[len(offsets)-1]; q.NewestFirst {
			q.To = last - 1
		} else {
			q.From = last + 1
		}
	}
}

// TestTime05AnAnswerDoesForSeveralPages: paging through a channel takes one request for several pages, in
// both directions and wherever its messages lie among others. A single page costs no more than without
// read-ahead.
func TestTime05AnAnswerDoesForSeveralPages(t *testing.T) {
	const events, limit = 3000, 100
	for _, c := range []struct{ others, most int }{{0, 3}, {1, 3}, {5, 2}} {
		t.Run(fmt.Sprint("heaps of a hundred among ", 100*c.others), func(t *testing.T) {
			l, s := long(t, -1)
			l.ahead.clock(func() time.Time { return time.Time{} })
			var mine []uint64
			for n := 0; n < events; n += 100 {
				got, err := numbered(l, "mine", n, 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range got {
					mine = append(mine, r.Offset)
				}
				if c.others == 0 {
					continue
				}
				if _, err := numbered(l, "others", n, 100*c.others); err != nil {
					t.Fatal(err)
				}
			}
			asked := batches(t, s)
			for _, newestFirst := range []bool{false, true} {
				l.ahead.forget("")
				want := slices.Clone(mine)
				if newestFirst {
					slices.Reverse(want)
				}
				before := asked()
				if _, err := l.Read(t.Context(), "a", "mine", broker.Query{NewestFirst: newestFirst, Limit: limit}); err != nil {
					t.Fatal(err)
				}
				alone := asked() - before
				got, pages := all(t, l, "mine", broker.Query{NewestFirst: newestFirst, Limit: limit})
				if !slices.Equal(got, want) {
					t.Fatalf("newest first %t: other events", newestFirst)
				}
				if n := asked() - before - alone; n > pages/c.most {
					t.Errorf("newest first %t: %d answers for %d pages", newestFirst, n, pages)
				}
				if alone > 1 && c.others == 0 {
					t.Errorf("newest first %t: %d answers for a page alone", newestFirst, alone)
				}
				before = asked()
				if got, _ := all(t, l, "mine", broker.Query{NewestFirst: newestFirst, Limit: limit}); !slices.Equal(got, want) {
					t.Fatalf("newest first %t: other events the second time", newestFirst)
				}
				if n := asked() - before; n > 3 {
					t.Errorf("newest first %t: %d answers for %d pages the second time", newestFirst, n, pages)
				}
				t.Logf("newest first %t: %d answers for a page alone", newestFirst, alone)
			}
		})
	}
}

// TestTime05ManyPageThroughAChannel: many readers that page through a channel at the same time, in both
// directions, each see every event once and in order.
func TestTime05ManyPageThroughAChannel(t *testing.T) {
	const events = 2000
	l, _ := long(t, -1)
	l.ahead.clock(func() time.Time { return time.Time{} })
	var mine []uint64
	for n := 0; n < events; n += 500 {
		got, err := numbered(l, "mine", n, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			mine = append(mine, r.Offset)
		}
	}
	last := mine[events-1]
	var readers sync.WaitGroup
	for n := range 8 {
		readers.Go(func() {
			want := slices.Clone(mine)
			if n%2 == 0 {
				slices.Reverse(want)
			}
			if got, _ := all(t, l, "mine", broker.Query{NewestFirst: n%2 == 0, To: last, Limit: 30 + n}); !slices.Equal(got, want) {
				t.Errorf("reader %d sees %d events, want %d once and in order", n, len(got), events)
			}
		})
	}
	for n := range 50 {
		if _, err := numbered(l, "mine", events+n, 1); err != nil {
			t.Error(err)
		}
	}
	readers.Wait()
	if got := l.Ahead(); got.Given == 0 || got.Bytes > aheadBytes {
		t.Errorf("%+v", got)
	}
}

// TestTime05WhatWasReadAheadEndsWithItsConnection: after a lost connection the server may come back without
// its last messages, so the read-ahead is dropped.
func TestTime05WhatWasReadAheadEndsWithItsConnection(t *testing.T) {
	l, _ := long(t, -1)
	l.ahead.clock(func() time.Time { return time.Time{} })
	if _, err := numbered(l, "mine", 0, 300); err != nil {
		t.Fatal(err)
	}
	if got, _ := all(t, l, "mine", broker.Query{Limit: 20}); len(got) != 300 || !remembers(l, SubjectOf("a", "mine")) {
		t.Fatalf("%d events, or nothing was read ahead", len(got))
	}
	if err := l.read.conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "it is forgotten", func() bool { return !remembers(l, SubjectOf("a", "mine")) })
}

// TestTime05APageUpToABoundIsWhole: before, a replica that was behind the upper bound of a page returned it
// without its newest events, and that went unnoticed, because only pages with the newest event of the channel
// were compared with the leader.
func TestTime05APageUpToABoundIsWhole(t *testing.T) {
	l, _ := long(t, -1)
	got, err := numbered(l, "mine", 0, 300)
	if err != nil {
		t.Fatal(err)
	}
	offset := func(n int) uint64 { return got[n].Offset }
	s, err := l.span("a", "mine")
	if err != nil {
		t.Fatal(err)
	}
	known, err := s.retained(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	middle, err := s.next(t.Context(), offset(200), 1)
	if err != nil {
		t.Fatal(err)
	}
	copied := *l.reader
	behind(t, &copied, s.app.stream, offset(150), 0)
	own := &appLog{opt: s.app.opt, stream: s.app.stream, root: s.app.root}
	own.epoch.Store(s.app.epoch.Load())
	own.copies.Store(3)
	s.log, s.app = &Log{ctx: t.Context(), opt: l.opt, reader: &copied}, own
	for _, c := range []struct {
		what string
		q    broker.Query
		want error
	}{
		{"back from what it lacks", broker.Query{NewestFirst: true, To: offset(200), Limit: 10}, errStale},
		{"back from far above", broker.Query{NewestFirst: true, To: offset(298), Limit: 10}, errStale},
		{"back by pages that are looked for", broker.Query{NewestFirst: true, To: offset(200), Limit: guesses + 1}, errStale},
		{"back to where it has nothing", broker.Query{NewestFirst: true, From: offset(190), To: offset(200), Limit: 10}, errStale},
		{"back from a time", broker.Query{NewestFirst: true, Until: middle[0].time, Limit: 10}, errStale},
		{"onward to what it lacks", broker.Query{From: offset(100), To: offset(200), Limit: 200}, errStale},
		{"onward from what it lacks", broker.Query{From: offset(190), To: offset(200), Limit: 200}, errStale},
		{"onward to a time", broker.Query{From: offset(100), Until: middle[0].time, Limit: 200}, errStale},
		{"back from what it has", broker.Query{NewestFirst: true, To: offset(140), Limit: 10}, nil},
		{"onward to what it has", broker.Query{From: offset(100), To: offset(140), Limit: 200}, nil},
		{"onward within what it has", broker.Query{From: offset(100), To: offset(200), Limit: 20}, nil},
	} {
		page, err := s.spread(known).read(t.Context(), c.q)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		if c.want == nil && (err != nil || len(page.Publications) == 0) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
