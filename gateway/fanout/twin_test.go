package fanout

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// stage is a hall whose shard does nothing by itself: the test delivers, and sockets read when the test has
// them read.
type stage struct {
	hall     *Hall
	kind     *socket.Kind
	shard    *Shard
	channels []*stageChannel
	clients  map[string]*standIn
	bound    int
	now      time.Time
	offset   uint64
	// every: the count makes one of so many publications of a value full.
	every int
}

// stageChannel is a channel with a model of the bases it should have.
type stageChannel struct {
	*Line
	stage     *stage
	owned     Bases
	published map[uint64]*broker.Publication
	prev      uint64
	// turns counts the tracked publications by conflation value.
	turns map[string]int
	// runs are the numbers of deltas in a row, by mode and key. full is the last decision of the count.
	runs [modes]map[string]int
	full bool
	// tracked holds the last publications by mode and key, newest first. order lists the keys by recency.
	tracked [modes]map[string][]*broker.Publication
	order   [modes][]string
}

// standIn is the part of a connection that matters here.
type standIn struct {
	id      string
	sock    *socket.Socket
	dialect pusher.Dialect
	single  bool
	bound   *Recency
	joined  []int
}

func (c *standIn) form() Form {
	f := Delta
	if c.dialect == pusher.V2 {
		f |= V2
	}
	if !c.single {
		f |= Keyed
	}
	return f
}

func newStage(conflate bool, queue, channels, bound int) *stage {
	s := &stage{clients: map[string]*standIn{}, bound: bound, every: 4, now: time.Unix(1_700_000_000, 0)}
	s.kind = &socket.Kind{Frames: queue, Bytes: 1 << 20, Last: websocket.Closing(4100, "slow")}
	s.hall = NewHall(&Hall{
		Sockets:   socket.NewGroup(socket.Options{TotalBytes: 1 << 40, SlowAge: time.Second, Linger: time.Second, Now: time.Now}),
		Reconnect: websocket.Closing(4200, "gap"), MessageID: func() string { return "m" },
		Encoded: func(time.Duration) {}, Replayed: func(string, int) {}, MaxBases: 1 << 40,
	}, 1)
	s.shard = s.hall.Shards[0]
	path, err := delta.ParsePath("k")
	if err != nil {
		panic(err)
	}
	rules := app.Delta{Enabled: true, Algorithm: app.Fossil, Path: "k", Interval: 4, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 3, DeliverTags: true}
	for i := range channels {
		c := &stageChannel{stage: s, published: map[uint64]*broker.Publication{}, turns: map[string]int{}, Line: &Line{
			Hall: s.hall, App: "app", Name: fmt.Sprint("ch", i),
			Report: func(Tally) {}, Shards: make([]Subscribers, 1),
		}}
		c.Govern(&Rules{Delta: rules, Keyed: true, Path: path, Conflates: conflate})
		c.owned = NewBases(c.Line)
		c.owned.Begin("e")
		c.reset()
		s.channels = append(s.channels, c)
	}
	return s
}

// prepare does what the owner of a channel does.
func (c *stageChannel) prepare(pub *broker.Publication) *Event {
	p := c.NewEvent(pub)
	if x := c.stage.clients[pub.ExcludeSocket]; x != nil {
		p.Exclude = x.sock
	}
	part := p.Part()
	c.full = c.turns[p.Key]%c.stage.every == 0
	c.owned.Track(p, part, c.full)
	if part == count.Tracked {
		c.turns[p.Key]++
	}
	return p
}

func (c *stageChannel) reset() {
	for m := range modes {
		c.tracked[m], c.order[m], c.runs[m] = map[string][]*broker.Publication{}, nil, map[string]int{}
	}
}

// govern switches the rules between having conflation values and having none. Without values no socket can
// conflate.
func (c *stageChannel) govern(conflate bool) {
	r := *c.Rules()
	r.Keyed = !r.Keyed
	r.Conflates = conflate && r.Keyed
	c.Govern(&r)
	c.owned = NewBases(c.Line)
	c.owned.Begin("e")
	c.reset()
	c.turns = map[string]int{}
}

// modeOf returns the mode in which a form gets the next publication.
func (c *stageChannel) modeOf(f Form) int {
	if !c.Rules().Keyed {
		return SingleBase
	}
	return f.mode()
}

// ends reports whether a tracked publication with these bases is full because of the interval: the count
// decides so, or the count has made none full for too long.
func (c *stageChannel) ends(mode int, key string, bases []*broker.Publication) bool {
	if c.runs[mode][key]++; c.full || len(bases) == 0 {
		c.runs[mode][key] = 0
	}
	full := c.full || c.runs[mode][key] == c.Rules().Delta.Interval
	if full {
		c.runs[mode][key] = 0
	}
	return full
}

// note updates the model for a tracked publication, and returns the possible bases of its delta.
func (c *stageChannel) note(mode int, key string, pub *broker.Publication) []*broker.Publication {
	fresh := func(p *broker.Publication) bool {
		return pub.Time.Sub(p.Time) < time.Duration(c.Rules().Delta.MaxAgeSeconds)*time.Second
	}
	c.order[mode] = slices.DeleteFunc(c.order[mode], func(k string) bool { return k == key })
	for _, k := range slices.Clone(c.order[mode]) {
		if !fresh(c.tracked[mode][k][0]) {
			delete(c.tracked[mode], k)
			c.order[mode] = slices.DeleteFunc(c.order[mode], func(x string) bool { return x == k })
		}
	}
	bases := slices.Clone(c.tracked[mode][key])
	if i := slices.IndexFunc(bases, func(p *broker.Publication) bool { return !fresh(p) }); i >= 0 {
		bases = bases[:i]
	}
	c.tracked[mode][key] = append([]*broker.Publication{pub}, bases[:min(len(bases), olderBases)]...)
	c.order[mode] = append(c.order[mode], key)
	most := c.Rules().Delta.MaxKeys
	if mode == SingleBase {
		most = 1
	}
	for len(c.order[mode]) > most {
		delete(c.tracked[mode], c.order[mode][0])
		c.order[mode] = c.order[mode][1:]
	}
	return bases
}

// twin is a socket with its own copies of everything, as a naive server would keep them.
type twin struct {
	stage  *stage
	client *standIn
	joined map[int]*twinChannel
	// uses lists the channels by their last tracked frame, once there were more than allowed.
	uses  []int
	texts map[string]string
	slow  bool
	gone  bool
}

type twinChannel struct {
	form   Form
	filter *pusher.Filter
	// last holds the socket's last tracked publication by key.
	last map[string]uint64
	due  []expected
	// skipped is the number of events that the socket was told it missed.
	skipped int
}

type expected struct {
	pub     *broker.Publication
	tracked bool
	key     string
	full    bool
	bases   []*broker.Publication
}

// poison, in the name, the data or a tag of an event, prevents later deltas against it.
const poison = "__delta_seq"

func (tw *twin) forget(ch int) { tw.joined[ch].last = map[string]uint64{} }

// deliver publishes and records what every socket should get.
func (s *stage) deliver(ch int, pub *broker.Publication, sockets []*twin) {
	c := s.channels[ch]
	pub.Offset, pub.Epoch, pub.Prev, pub.Time = s.offset, "e", c.prev, s.now
	c.prev = s.offset
	c.published[pub.Offset] = pub
	p := c.prepare(pub)
	if pub.Name == poison || strings.Contains(string(pub.Data), poison) || pub.Tags["u"] == poison {
		c.reset()
	}
	var bases [modes][]*broker.Publication
	if p.Tracked {
		for mode, key := range []string{KeyedBases: p.Key, SingleBase: ""} {
			if mode == KeyedBases && !c.Rules().Keyed {
				continue
			}
			bases[mode] = c.note(mode, key, pub)
			if full := c.ends(mode, key, bases[mode]); full != p.Bases[mode].Full {
				panic(fmt.Sprintf("publication %d, mode %d, key %q: full is %v", pub.Offset, mode, key, p.Bases[mode].Full))
			}
		}
	}
	for _, tw := range sockets {
		if j := tw.joined[ch]; j != nil && !tw.gone && p.Exclude != tw.client.sock && (j.filter == nil || j.filter.Matches(pub.Name, pub.Tags)) {
			m := c.modeOf(j.form)
			j.due = append(j.due, expected{pub, p.Tracked && j.form&Delta != 0, p.keyOf(j.form), p.Bases[m].Full, bases[m]})
		}
	}
	p.deliver(s.shard, &c.Shards[0])
}

// read takes everything from the outbox of a socket, as a writer does.
func (tw *twin) read(t *rapid.T) {
	o := tw.client.sock.Outbox()
	for {
		frames, again := o.Take(nil)
		for _, f := range frames {
			tw.frame(t, f)
		}
		if len(frames) == 0 && !again {
			return
		}
		if again {
			tw.stage.shard.CatchUp(o)
		}
	}
}

func (tw *twin) frame(t *rapid.T, f *socket.Frame) {
	if f == tw.stage.kind.Last {
		tw.gone = true
		return
	}
	var m message
	if err := json.Unmarshal(f.Payload(), &m); err != nil {
		t.Fatal(err)
	}
	ch := slices.IndexFunc(tw.stage.channels, func(c *stageChannel) bool { return c.Name == m.Channel })
	_, event, _ := strings.Cut(m.Event, ":")
	if event == "subscription_succeeded" {
		return
	}
	j := tw.joined[ch]
	if event == "conflated" {
		var d struct{ Skipped int }
		if err := json.Unmarshal(m.Data, &d); err != nil {
			t.Fatal(err)
		}
		j.skipped += d.Skipped
		return
	}
	text, wasDelta, base := string(f.Payload()), false, ""
	name := func(key *string, n int64) string {
		k := ""
		if key != nil {
			k = *key
		}
		return fmt.Sprint(ch, "/", k, "/", n)
	}
	if event == "delta" {
		var d deltaData
		if err := json.Unmarshal(m.Data, &d); err != nil {
			t.Fatal(err)
		}
		wasDelta, base = true, name(d.Key, d.Base)
		raw, err := base64.StdEncoding.DecodeString(d.Delta)
		if err != nil {
			t.Fatal(err)
		}
		out, err := delta.ApplyFossil(nil, []byte(tw.texts[base]), raw, 1<<20)
		if err != nil {
			t.Fatalf("delta against %s, which is %q here: %v", base, tw.texts[base], err)
		}
		text = string(out)
		m = message{}
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatal(err)
		}
	}
	if m.Sequence != nil {
		at := name(m.Key, *m.Sequence)
		if had, ok := tw.texts[at]; ok && had != text {
			t.Fatalf("DS-29: number %s is of\n%s\nand of\n%s", at, had, text)
		}
		tw.texts[at] = text
	}
	tw.judge(t, ch, text, wasDelta, base)
}

// judge compares a frame with the expected ones.
func (tw *twin) judge(t *rapid.T, ch int, text string, wasDelta bool, base string) {
	j := tw.joined[ch]
	var d struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	body := string(d.Data)
	if strings.HasPrefix(body, `"`) {
		_ = json.Unmarshal(d.Data, &body)
	}
	at := slices.IndexFunc(j.due, func(e expected) bool { return string(e.pub.Data) == body })
	if at < 0 {
		t.Fatalf("%s was not due", text)
	}
	j.skipped -= at
	e := j.due[at]
	j.due = j.due[at+1:]
	if !e.tracked {
		if wasDelta {
			t.Fatalf("untracked %s came as a delta", text)
		}
		return
	}
	held, has := j.last[e.key]
	if tw.uses != nil && !slices.Contains(tw.uses, ch) {
		has = false
		tw.forget(ch)
	}
	if tw.uses != nil {
		tw.uses = slices.DeleteFunc(tw.uses, func(c int) bool { return c == ch })
		tw.uses = append(tw.uses, ch)
		if most := tw.stage.bound; len(tw.uses) > most {
			tw.uses = tw.uses[1:]
		}
	}
	usable := has && slices.ContainsFunc(e.bases, func(p *broker.Publication) bool { return p.Offset == held })
	if wasDelta != (usable && !e.full) {
		t.Fatalf("publication %d of %s, key %q: delta is %v; the socket holds %d (%v), may be used: %v, full is due: %v",
			e.pub.Offset, tw.stage.channels[ch].Name, e.key, wasDelta, held, has, usable, e.full)
	}
	if wasDelta && !strings.Contains(tw.texts[base], string(tw.stage.channels[ch].published[held].Data)) {
		t.Fatalf("the delta starts from %s, the socket's last one is %d", tw.texts[base], held)
	}
	j.last[e.key] = e.pub.Offset
}

func (tw *twin) join(ch int, filter *pusher.Filter) {
	c, f := tw.stage.channels[ch], tw.client.form()
	if !c.Rules().Keyed {
		f &^= Keyed
	}
	tw.client.joined = append(tw.client.joined, ch)
	c.Shards[0].Put(&Entry{Sock: tw.client.sock, Form: f, Filter: filter, Bound: tw.client.bound, Greet: func(Start) {
		tw.client.sock.Send(websocket.Seal(append(websocket.Buffer(0), `{"event":"pusher_internal:subscription_succeeded","channel":"`+c.Name+`","data":"{}"}`...), websocket.Text))
	}})
	tw.joined[ch] = &twinChannel{form: f, filter: filter, last: map[string]uint64{}}
	if n := len(tw.client.joined); tw.client.bound == nil && n > tw.stage.bound {
		tw.client.bound = NewRecency(tw.stage.bound)
		for i, ch := range tw.client.joined {
			to := &tw.stage.channels[ch].Shards[0]
			if i < n-1 {
				tw.client.bound.Touch(to)
			}
			to.LimitTo(tw.client.sock.Outbox(), tw.client.bound)
		}
		tw.uses = slices.Clone(tw.client.joined[max(0, n-1-tw.stage.bound) : n-1])
	}
}

func (tw *twin) leave(ch int) {
	c := tw.stage.channels[ch]
	c.Shards[0].Drop(tw.client.sock.Outbox())
	tw.client.joined = slices.DeleteFunc(tw.client.joined, func(x int) bool { return x == ch })
	delete(tw.joined, ch)
	tw.uses = slices.DeleteFunc(tw.uses, func(x int) bool { return x == ch })
}

func TestSharedBasesAgreeWithCopiesPerSocket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		conflate := rapid.Bool().Draw(t, "conflate")
		s := newStage(conflate, rapid.IntRange(2, 6).Draw(t, "queue"), 3, rapid.IntRange(1, 3).Draw(t, "bound"))
		// A count may have been lost, or follow other rules.
		s.every = rapid.SampledFrom([]int{4, 4, 3, 7, 1000}).Draw(t, "every")
		var sockets []*twin
		for i := range 4 {
			v2, single := rapid.Bool().Draw(t, "v2"), rapid.Bool().Draw(t, "single")
			c := &standIn{id: fmt.Sprint(i), single: single, sock: s.shard.Open(nil, s.kind)}
			if v2 {
				c.dialect = pusher.V2
			}
			s.clients[c.id] = c
			sockets = append(sockets, &twin{stage: s, client: c, joined: map[int]*twinChannel{}, texts: map[string]string{}})
		}
		for step := range 120 {
			s.offset++
			s.now = s.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 1, 40}).Draw(t, "seconds")) * time.Second)
			ch, tw := rapid.IntRange(0, 2).Draw(t, "channel"), sockets[rapid.IntRange(0, 3).Draw(t, "socket")]
			j := tw.joined[ch]
			what := rapid.IntRange(0, 19).Draw(t, "what")
			switch {
			case tw.gone:
			case what == 0 && j != nil:
				// It turns deltas off, or on again.
				tw.read(t)
				j.form ^= Delta
				if c := s.channels[ch]; j.form&Delta == 0 || !c.Rules().Keyed {
					j.form &^= Keyed
				} else {
					j.form |= tw.client.form() & Keyed
				}
				s.channels[ch].Shards[0].Reform(tw.client.sock.Outbox(), j.form)
				tw.forget(ch)
			case what == 1 && rapid.IntRange(0, 3).Draw(t, "rules") == 0:
				// Events queued for slow sockets were made under the old rules.
				for _, tw := range sockets {
					tw.read(t)
				}
				s.channels[ch].govern(conflate)
			case what < 3 && j == nil:
				tw.read(t)
				filter, err := pusher.ParseFilter(rapid.SampledFrom([]string{
					"", "", `{"key":"t","cmp":"neq","val":"0"}`, `{"events":["tick"]}`,
				}).Draw(t, "filter"))
				if err != nil {
					t.Fatal(err)
				}
				tw.join(ch, filter)
			case what == 3 && j != nil:
				tw.read(t)
				tw.leave(ch)
			case what == 4 && j != nil:
				tw.read(t)
				s.channels[ch].Shards[0].Forget(tw.client.sock.Outbox())
				tw.forget(ch)
			case what == 5:
				tw.slow = !tw.slow
			}
			if what < 6 {
				continue
			}
			key := rapid.SampledFrom([]string{"a", "b", "c", "d", ""}).Draw(t, "key")
			pub := &broker.Publication{Event: broker.Event{
				Name: rapid.SampledFrom([]string{"tick", "tick", "tock"}).Draw(t, "name"), ConflationKey: key, HasKey: true,
				Tags: map[string]string{"t": rapid.SampledFrom([]string{"0", "1", "2"}).Draw(t, "tag")},
				Data: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, step, strings.Repeat("steady ", 60)),
			}}
			switch rapid.IntRange(0, 24).Draw(t, "kind") {
			case 0:
				pub.Delta = broker.DeltaNever
			case 1:
				pub.Data = fmt.Appendf(nil, `{"n":%d,"__delta_seq":1}`, step)
			case 5:
				pub.Tags["u"] = poison
			case 6:
				pub.Name = poison
			case 2, 3, 4:
				pub.ExcludeSocket = tw.client.id
			}
			s.deliver(ch, pub, sockets)
			for _, tw := range sockets {
				if !tw.slow && !tw.gone {
					tw.read(t)
				}
			}
		}
		for i, tw := range sockets {
			if tw.read(t); tw.gone {
				continue
			}
			for ch, j := range tw.joined {
				if len(j.due) > 0 || j.skipped != 0 {
					t.Fatalf("socket %d lacks %d publications of channel %d; it was told of %d too many", i, len(j.due), ch, j.skipped)
				}
			}
		}
	})
}
