package fanout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// pastOf is the past of a channel as its owner would have it: memory down to low, and below that a log, which
// is read when the test says so.
type pastOf struct {
	epoch   string
	events  []*Event
	low     uint64
	high    uint64
	waiting map[*Way]bool
	read    map[*Way]bool
}

func (p *pastOf) Next(dst []*Event, w *Way, most int) ([]*Event, uint64, bool) {
	if w.Epoch != p.epoch {
		return dst, w.Place, false
	}
	if w.Place < p.low && !p.read[w] {
		p.waiting[w] = true
		return dst, w.Place, false
	}
	for _, e := range p.events {
		if e.Pub.Offset <= w.Place {
			continue
		}
		if len(dst) == most {
			return dst, dst[len(dst)-1].Pub.Offset, true
		}
		dst = append(dst, e)
	}
	return dst, max(w.Place, p.high), true
}

func (p *pastOf) Leave(w *Way) { delete(p.waiting, w) }

// told is the ending of a way, which must end exactly once or be abandoned.
type told struct {
	ends *int
	what string
}

func (e told) End(w *Way) (frames []*socket.Frame) {
	*e.ends++
	f := w.Failed.Load()
	if f != nil && !w.Told {
		frames = append(frames, FailureFrame(pusher.V2, f, "m"))
	}
	return append(frames, ControlFrame(pusher.V2, 64, &pusher.Control{Event: e.what, Object: fmt.Appendf(nil, `{"cut":%v}`, f != nil)}))
}

func (e told) Abandon(*Way) { *e.ends++ }

// traveller is a V2 client that compares the events it gets with what it was told.
type traveller struct {
	stage  *stage
	past   *pastOf
	sock   *socket.Socket
	filter *pusher.Filter
	joined bool
	began  uint64
	// It is owed the events in (place, until], and those above own. lost: it was told that some of the latter
	// are missing.
	place, until, own uint64
	// got is the newest of its own events that it got.
	got  uint64
	lost bool
	// asked: its rewind or snapshot has not ended. has is its position in that, up to end, when it was
	// resumed meanwhile.
	asked, resumed bool
	has, end       uint64
	// failures counts how often it was told that a request in progress fails.
	failures int
	// before is the newest of its own events when it subscribed again, if sure is set.
	before uint64
	sure   bool
	// cache is the cached event with which it began, which comes once and before newer ones. due: no event
	// has come between. newest is the newest event since then.
	cache, newest uint64
	due           bool
	// skipped are the ranges that it was told were skipped.
	skipped   [][2]uint64
	slow      bool
	gone      bool
	ends      []*int
	mentioned []string
}

func (c *traveller) concerns(e *Event) bool {
	return c.filter == nil || c.filter.Matches(e.Pub.Name, e.Pub.Tags)
}

// owed returns the first event in (from, to] that it should have got, and whether there is one.
func (c *traveller) owed(from, to uint64) (uint64, bool) {
	for _, e := range c.past.events {
		at := e.Pub.Offset
		if at <= from || at > to || !c.concerns(e) {
			continue
		}
		skipped := false
		for _, s := range c.skipped {
			skipped = skipped || s[0] <= at && at <= s[1]
		}
		if !skipped {
			return at, true
		}
	}
	return 0, false
}

func (c *traveller) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.sock.Send(websocket.Seal(append(websocket.Buffer(0), text...), websocket.Text))
}

func (c *traveller) take(t *rapid.T) {
	o := c.sock.Outbox()
	for {
		frames, again := o.Take(nil)
		for _, f := range frames {
			c.frame(t, f)
		}
		if len(frames) == 0 && !again {
			return
		}
		if again {
			c.stage.shard.loop.past = roundPast
			c.stage.shard.CatchUp(o)
			c.goOn()
		}
	}
}

// goOn does what a shard does at the end of a round.
func (c *traveller) goOn() {
	later := c.stage.shard.loop.later
	c.stage.shard.loop.later = nil
	for _, j := range later {
		c.stage.shard.goOn(j)
	}
}

func (c *traveller) frame(t *rapid.T, f *socket.Frame) {
	if f == c.stage.kind.Last {
		c.gone = true
		return
	}
	c.mentioned = append(c.mentioned, string(f.Payload()))
	var m struct {
		Event  string
		Serial uint64
		Data   json.RawMessage
	}
	if err := json.Unmarshal(f.Payload(), &m); err != nil {
		t.Fatal(err)
	}
	var d struct {
		From, Began  uint64
		Code         string
		FirstSerial  uint64 `json:"first_serial"`
		LastSerial   uint64 `json:"last_serial"`
		Fresh, Asked bool
		Again, Cut   bool
		Cache        uint64
		Skipped      int
	}
	body := []byte(m.Data)
	if len(body) > 0 && body[0] == '"' {
		var s string
		_ = json.Unmarshal(body, &s)
		body = []byte(s)
	}
	_ = json.Unmarshal(body, &d)
	_, event, _ := strings.Cut(m.Event, ":")
	switch event {
	case "joined":
		if d.Fresh {
			c.before, c.sure = c.own, d.Again && !c.lost
			c.place, c.until, c.own, c.got, c.lost = d.From, m.Serial, m.Serial, m.Serial, false
			c.asked, c.resumed = d.Asked, false
			c.cache, c.due, c.newest = d.Cache, true, 0
		}
	case "begins":
		// None of its own events from before it subscribed again may be left out.
		if next, owed := c.owed(c.before, d.From); c.sure && owed {
			t.Fatalf("%d was owed when it subscribed again, and the new way begins behind that, at %d\n%s", next, d.From, strings.Join(c.mentioned, "\n"))
		}
		c.place = d.From
	case "resumed":
		if c.failures = 0; !c.resumed {
			c.resumed, c.has, c.end = true, c.place, c.until
		}
		c.due = false
		if c.own = max(c.own, c.began); d.From >= c.began {
			// A client that claims a lower position than before contradicts itself: events that it claimed to
			// have may come or not.
			c.lost = c.lost || d.From < c.own && c.own > c.got
			c.place, c.until, c.own = c.began, c.began, max(c.got, d.From)
		} else {
			c.place, c.until = d.From, c.began
		}
	case "done":
		c.resumed, c.failures = false, 0
	case "asked":
		if !c.asked {
			t.Fatalf("what it asked for ended again\n%s", strings.Join(c.mentioned, "\n"))
		}
		if c.asked = false; d.Cut {
			c.place = c.until
		}
	case "conflated":
		c.skipped = append(c.skipped, [2]uint64{d.FirstSerial, d.LastSerial})
	case "resume_failed":
		if c.failures++; c.failures > 1 && c.resumed {
			t.Fatalf("it was told twice that its resume failed\n%s", strings.Join(c.mentioned, "\n"))
		}
		if _, owed := c.owed(c.place, c.until); !owed || d.Code != string(pusher.PersistenceUnavailable) {
			// The position that it claimed no longer counts.
			c.lost, c.own = true, c.got
		}
		if c.due = false; c.resumed && c.asked {
			// It goes on with its rewind or snapshot.
			c.place, c.until, c.lost = max(c.has, c.place), c.end, true
			return
		}
		c.place = c.until
	default:
		first := m.Serial == c.cache && m.Serial > c.newest
		if c.newest = max(c.newest, m.Serial); m.Serial == c.cache {
			c.cache = 0
		}
		if first && (m.Serial <= c.place || m.Serial > c.until && m.Serial <= c.own) {
			return
		}
		c.event(t, m.Serial)
	}
}

func (c *traveller) event(t *rapid.T, serial uint64) {
	fail := func(why string, args ...any) {
		t.Fatalf("got %d with %d to %d and from %d on owed: %s\n%s", serial, c.place, c.until, c.own, fmt.Sprintf(why, args...), strings.Join(c.mentioned, "\n"))
	}
	if serial <= c.until {
		switch next, owed := c.owed(c.place, serial-1); {
		case serial <= c.place:
			fail("it came before")
		case owed:
			fail("%d is missing", next)
		}
		c.place = serial
		return
	}
	if next, owed := c.owed(c.place, c.until); owed {
		fail("%d of the past is missing", next)
	}
	c.place = c.until
	switch next, owed := c.owed(c.own, serial-1); {
	case serial <= c.own:
		fail("it came before")
	case owed && !c.lost:
		fail("%d is missing", next)
	}
	c.own, c.got, c.lost = serial, serial, false
}

// TestTime07NothingTwiceAndNothingMissing: clients make any requests in any order, while the log fails, gaps
// come and sockets do not read. Each client gets what it is owed, in order and once, or is told that it
// cannot have it, and every way ends once.
func TestTime07NothingTwiceAndNothingMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage(rapid.Bool().Draw(t, "conflate"), rapid.IntRange(3, 9).Draw(t, "queue"), 1, 100)
		ch := s.channels[0]
		past := &pastOf{epoch: "e", waiting: map[*Way]bool{}, read: map[*Way]bool{}}
		ch.Serials, ch.Past, ch.Caches = true, past, rapid.Bool().Draw(t, "caches")
		list := &ch.Shards[0]
		list.Begin(broker.Position{Epoch: "e"}, false)
		var all []*traveller
		for range 3 {
			c := &traveller{stage: s, past: past, sock: s.shard.Open(nil, s.kind)}
			if rapid.Bool().Draw(t, "filtered") {
				c.filter, _ = pusher.ParseFilter(`{"key":"t","cmp":"neq","val":"0"}`)
			}
			all = append(all, c)
		}
		ending := func(c *traveller, what string) told {
			n := 0
			c.ends = append(c.ends, &n)
			return told{&n, what}
		}
		work := func() {
			for s.shard.Waiting()+s.shard.Woken() > 0 {
				s.shard.next()
				for _, j := range s.shard.loop.jobs {
					if j.p == nil {
						s.shard.goOn(j)
					} else {
						j.p.deliver(s.shard, j.to)
					}
				}
			}
		}
		publish := func() {
			s.offset += uint64(rapid.IntRange(1, 2).Draw(t, "step"))
			pub := &broker.Publication{Event: broker.Event{
				Name: "tick", HasKey: true, ConflationKey: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"),
				Tags: map[string]string{"t": rapid.SampledFrom([]string{"0", "1"}).Draw(t, "tag")}, Data: fmt.Appendf(nil, `{"n":%d}`, s.offset),
			}, Position: broker.Position{Epoch: past.epoch, Offset: s.offset}, Time: s.now}
			p := ch.NewEvent(pub)
			past.events, past.high = append(past.events, p), s.offset
			ch.Post(p)
		}
		put := func(c *traveller, w *Way) {
			e := &Entry{Sock: c.sock, Form: V2, Filter: c.filter, Way: w}
			e.Greet = func(at Start) {
				from, fresh, again, cache := at.Offset, !c.joined, c.joined, uint64(0)
				if e.Owed = at.Cached; at.Cached != nil {
					cache = at.Cached.Pub.Offset
				}
				if w != nil {
					if _, quiet := w.Ends.(Silently); !quiet {
						from, fresh = min(w.Place, at.Offset), true
					}
				}
				if !c.joined {
					c.began, c.joined = at.Offset, true
				}
				c.say(`{"event":"sockudo:joined","serial":%d,"data":{"from":%d,"fresh":%v,"again":%v,"asked":%v,"cache":%d}}`, at.Offset, from, fresh, again, w != nil && w.Asked, cache)
			}
			list.Put(e)
			if w != nil {
				if _, quiet := w.Ends.(Silently); !quiet {
					c.say(`{"event":"sockudo:begins","data":{"from":%d}}`, w.Place)
				}
				w.Wake()
			}
		}
		serve := func(broken bool) {
			for w := range past.waiting {
				delete(past.waiting, w)
				if broken {
					w.Failed.Store(&pusher.ResumeFailure{Channel: ch.Name, Code: pusher.PersistenceUnavailable})
				} else {
					past.read[w] = true
				}
				w.Wake()
			}
		}
		for range 80 {
			c := all[rapid.IntRange(0, len(all)-1).Draw(t, "client")]
			back := uint64(rapid.IntRange(0, 12).Draw(t, "back"))
			w := &Way{Line: ch.Line, Shard: s.shard, Out: c.sock.Outbox()}
			switch what := rapid.IntRange(0, 15).Draw(t, "what"); {
			case what < 6:
				publish()
			case what == 6:
				work()
			case what == 7:
				c.slow = !c.slow
			case what == 8:
				past.low = s.offset - min(s.offset, back)
				clear(past.read)
			case what == 9:
				serve(rapid.Bool().Draw(t, "broken"))
			case c.gone:
			case what == 10 && !c.joined:
				put(c, nil)
			case what == 11:
				w.Ends = Silently{}
				if c.joined || rapid.Bool().Draw(t, "wish") {
					what := rapid.SampledFrom([]string{"done", "asked"}).Draw(t, "ending")
					w.Ends, w.Asked = ending(c, what), what == "asked"
				}
				served := list.Served().Offset
				w.Place = served - min(served, back)
				put(c, w)
			case (what == 12 || what == 13) && c.joined:
				w.Epoch = list.Served().Epoch
				w.Place = s.offset - min(s.offset, back)
				if w.Epoch == past.epoch {
					c.say(`{"event":"sockudo:resumed","data":{"from":%d,"began":%d}}`, w.Place, c.began)
					w.Ends = ending(c, "done")
					if !list.Resume(w, c.began, 0, false) {
						t.Fatal("the resume was refused")
					}
					w.Wake()
				}
			case what == 14 && c.joined && rapid.IntRange(0, 3).Draw(t, "leave") == 0:
				list.Drop(c.sock.Outbox())
				c.take(t)
				c.joined, c.skipped = false, nil
			case what == 15:
				g := broker.Gap{After: broker.Position{Epoch: past.epoch, Offset: s.offset}, Reason: broker.GapEvicted}
				if s.offset++; rapid.Bool().Draw(t, "epoch") {
					past.epoch, g.Reason, past.events, past.low = past.epoch+"e", broker.GapEpoch, nil, 0
				}
				g.Resume = broker.Position{Epoch: past.epoch, Offset: s.offset}
				past.low, past.high = s.offset, s.offset
				clear(past.waiting)
				ch.Miss(g)
			}
			if rapid.Bool().Draw(t, "work") {
				work()
			}
			for _, c := range all {
				if !c.slow && !c.gone {
					c.take(t)
				}
			}
		}
		// All clients read again, and get the next publications.
		publish()
		for range 200 {
			work()
			serve(false)
			for _, c := range all {
				if !c.gone {
					c.take(t)
				}
			}
		}
		for _, c := range all {
			if c.gone {
				continue
			}
			if next, owed := c.owed(c.own, s.offset); c.joined && owed && !c.lost {
				t.Fatalf("%d never came, from %d on is owed\n%s", next, c.own, strings.Join(c.mentioned, "\n"))
			}
			if _, there := c.owed(c.cache-1, c.cache); there && c.due && c.cache > 0 && c.joined {
				t.Fatalf("%d of the cache never came\n%s", c.cache, strings.Join(c.mentioned, "\n"))
			}
			if c.asked && c.joined {
				t.Fatalf("what it asked for never ended\n%s", strings.Join(c.mentioned, "\n"))
			}
			list.Drop(c.sock.Outbox())
			for i, n := range c.ends {
				if *n != 1 {
					t.Fatalf("way %d of %d ended %d times", i, len(c.ends), *n)
				}
			}
		}
		for _, c := range all {
			list.Drop(c.sock.Outbox())
		}
		if n := s.hall.Catching.Load(); n != 0 {
			t.Fatalf("%d are behind without a subscription", n)
		}
	})
}

// TestTime16WhatWasDiscardedIsForgotten: events that a socket skipped while it was behind are sent when it
// resumes. Before, a queue that still knew of them made a later resume begin too early and deliver events
// twice.
func TestTime16WhatWasDiscardedIsForgotten(t *testing.T) {
	x := newSubject(t, V2|Delta)
	for range 2 {
		x.list.fallBehind(x.sub, x.publication("tick", "a"))
	}
	q := &x.list.detail(x.sub).queue
	if q.skipped != 1 || q.before() == 0 && x.stage.offset != 2 {
		t.Fatalf("%d were skipped, the first at %d", q.skipped, q.first)
	}
	q.discard()
	for range 3 {
		x.publication("tick", "a")
	}
	p := x.publication("tick", "a")
	x.list.fallBehind(x.sub, p)
	if got, want := q.before(), p.Pub.Offset-1; q.skipped != 0 || got != want {
		t.Errorf("it has all up to %d and was not told of %d, want %d and 0", got, q.skipped, want)
	}
	q.discard()
}
