package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// timeRig returns a rig whose hub supports recovery and rewind, on an in-memory log with these options.
func timeRig(t *testing.T, opt memory.Options, change func(*Options, *appT)) *rig {
	t.Helper()
	opt.Apps = []string{"app"}
	log, err := memory.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options, a *appT) {
		o.Feed, o.History, o.Publisher = log, log, log
		a.HistoryEnabled, a.Rewind = true, true
		a.Recovery = app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 1 << 20, Age: time.Minute}
		if change != nil {
			change(o, a)
		}
	})
	_ = r.log.Close()
	r.log = log
	return r
}

// second opens a V2 connection and returns its socket id.
func (r *rig) second() (*peer, string) {
	r.t.Helper()
	p := r.dial("/app/key?protocol=2&client=js&version=2.2.0&flash=false")
	return p, established(r.t, p.want("sockudo:connection_established"))
}

// join subscribes on V2 and returns the success frame. more holds further members of the request, with a
// leading comma.
func (p *peer) join(channel, more string) message {
	p.t.Helper()
	p.say(`{"event":"sockudo:subscribe","data":{"channel":%q%s}}`, channel, more)
	m := p.want("sockudo_internal:subscription_succeeded")
	if m.Channel != channel {
		p.t.Fatalf("got %s, want success for %s", m.text, channel)
	}
	return m
}

// from requests a resume of one channel from a position.
func (p *peer) from(channel, stream string, serial uint64, more string) {
	p.t.Helper()
	positions := fmt.Sprintf(`{"channel_positions":{%q:{"stream_id":%q,"serial":%d%s}}}`, channel, stream, serial, more)
	text, _ := json.Marshal(positions)
	p.say(`{"event":"sockudo:resume","data":%s}`, text)
}

// inner decodes the data of a protocol event, which may be JSON within a string.
func (m message) inner(t *testing.T, into any) {
	t.Helper()
	data := []byte(m.Data)
	if len(data) > 0 && data[0] == '"' {
		data = []byte(m.str())
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", m.text, err)
	}
}

type position struct {
	Stream string `json:"stream_id"`
	Serial uint64 `json:"serial"`
	ID     string `json:"last_message_id"`
}

type failure struct {
	Channel string  `json:"channel"`
	Code    string  `json:"code"`
	Reason  string  `json:"reason"`
	Current *string `json:"current_stream_id"`
	Oldest  *uint64 `json:"oldest_available_serial"`
	Newest  *uint64 `json:"newest_available_serial"`
}

type summary struct {
	Recovered []struct {
		Channel  string   `json:"channel"`
		Source   string   `json:"source"`
		Replayed int      `json:"replayed"`
		Position position `json:"position"`
	} `json:"recovered"`
	Failed []failure `json:"failed"`
}

func (p *peer) summary() summary {
	p.t.Helper()
	var s summary
	p.want("sockudo:resume_success").inner(p.t, &s)
	return s
}

// events reads n events and returns their data.
func (p *peer) events(n int) []string {
	p.t.Helper()
	var got []string
	for range n {
		m := p.next()
		if strings.HasPrefix(m.Event, "sockudo") {
			p.t.Fatalf("after %d events: got %s, want an event", len(got), m.text)
		}
		got = append(got, m.str())
	}
	return got
}

// alive checks on V2 that no other frame is queued before the answer.
func (p *peer) alive() {
	p.t.Helper()
	p.say(`{"event":"sockudo:ping","data":{}}`)
	p.want("sockudo:pong")
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// publishMany publishes the numbers from from to to, and returns the last receipt once the gateway has them,
// if it has the channel attached.
func (r *rig) publishMany(channel string, from, to int, change ...func(*broker.Event)) (last broker.Receipt) {
	r.t.Helper()
	for _, n := range numbers(from, to) {
		last = r.publish(channel, "tick", n, change...)
	}
	r.settled(channel, last.Offset)
	return last
}

// settled waits until all shards have a publication, if the gateway has the channel attached.
func (r *rig) settled(channel string, offset uint64) {
	r.t.Helper()
	eventually(r.t, "the gateway has what was published", func() bool {
		r.hub.mu.Lock()
		c := r.hub.channels[channelKey{"app", channel}]
		r.hub.mu.Unlock()
		for i := range r.hub.hall.Shards {
			if c == nil {
				break
			}
			if c.Shards[i].Served().Offset < offset {
				return false
			}
		}
		return true
	})
}

// slowHistory is a history whose reads wait for goOn, once it is armed.
type slowHistory struct {
	broker.History
	armed       atomic.Bool
	asked, goOn chan struct{}
}

func (h *slowHistory) wait() {
	if h.armed.Load() {
		select {
		case h.asked <- struct{}{}:
		default:
		}
		<-h.goOn
	}
}

func (h *slowHistory) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	h.wait()
	return h.History.Read(ctx, app, channel, q)
}

func (h *slowHistory) After(ctx context.Context, app, channel string, at broker.Position, limit int) (*broker.Page, error) {
	h.wait()
	return h.History.After(ctx, app, channel, at, limit)
}

// shakyHistory fails the next reads, fails in number.
type shakyHistory struct {
	broker.History
	fails atomic.Int32
}

func (h *shakyHistory) After(ctx context.Context, app, channel string, at broker.Position, limit int) (*broker.Page, error) {
	if h.fails.Add(-1) >= 0 {
		return nil, broker.ErrUnavailable
	}
	return h.History.After(ctx, app, channel, at, limit)
}

func TestAttachPositions(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	t.Run("V2-07 the success frame has the position, 0 on an empty channel", func(t *testing.T) {
		p, _ := r.second()
		if m := p.join("empty", ""); m.Serial != 0 || m.StreamID == "" || !strings.Contains(m.text, `"serial":0`) || !strings.Contains(m.str(), `"attach_serial":0`) {
			t.Errorf("got %s", m.text)
		}
		at := r.publishMany("full", 1, 3)
		if m := p.join("full", ""); m.Serial != at.Offset || m.StreamID != at.Epoch || !strings.Contains(m.str(), fmt.Sprintf(`"attach_serial":%d`, at.Offset)) {
			t.Errorf("got %s, want position %+v", m.text, at)
		}
		r.publish("full", "tick", "4")
		if m := p.want("tick"); m.Serial <= at.Offset || m.StreamID != at.Epoch {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("V2-07 V1 has none of it", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"full"}}`)
		if got, want := p.next().text, `{"event":"pusher_internal:subscription_succeeded","channel":"full","data":"{}"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("V2-08 what was published before is not delivered, what comes after is, once", func(t *testing.T) {
		const events, sockets = 300, 5
		published := make(chan struct{})
		go func() {
			defer close(published)
			for i := range events {
				r.publish("busy", "tick", fmt.Sprint(i))
			}
		}()
		for range sockets {
			p, _ := r.second()
			at := p.join("busy", "").Serial
			last := at
			defer func() {
				<-published
				newest, err := r.log.Retained(t.Context(), "app", "busy")
				if err != nil {
					t.Fatal(err)
				}
				for last < newest.Newest {
					m := p.want("tick")
					if m.Serial <= last {
						t.Fatalf("%d came after %d, attached at %d", m.Serial, last, at)
					}
					last = m.Serial
				}
				p.alive()
			}()
		}
	})
}

func TestResuming(t *testing.T) {
	start := func(t *testing.T, r *rig, channel string) position {
		t.Helper()
		r.publishMany(channel, 1, 5)
		p, _ := r.second()
		m := p.join(channel, "")
		p.hangUp()
		return position{Stream: m.StreamID, Serial: m.Serial}
	}
	t.Run("RE-01 exactly what was missed comes, in order, before what is live", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		at := start(t, r, "orders")
		last := r.publishMany("orders", 6, 9)
		p, _ := r.second()
		p.raw(append(masked(1, []byte(`{"event":"sockudo:subscribe","data":{"channel":"orders"}}`)),
			masked(1, fmt.Appendf(nil, `{"event":"sockudo:resume","data":{"channel_positions":{"orders":{"stream_id":%q,"serial":%d}}}}`, at.Stream, at.Serial))...))
		if m := p.want("sockudo_internal:subscription_succeeded"); m.Serial != last.Offset {
			t.Errorf("got %s", m.text)
		}
		if diff := cmp.Diff(numbers(6, 9), p.events(4)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		s := p.summary()
		if len(s.Failed) != 0 || len(s.Recovered) != 1 || s.Recovered[0].Replayed != 4 || s.Recovered[0].Channel != "orders" ||
			s.Recovered[0].Position.Serial != last.Offset || s.Recovered[0].Position.Stream != last.Epoch {
			t.Errorf("got %+v", s)
		}
		r.publish("orders", "tick", "10")
		if m := p.want("tick"); m.str() != "10" {
			t.Errorf("got %s", m.text)
		}
		p.alive()
	})
	t.Run("V2-03 the replay has the ids that the event had live", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		witness, _ := r.second()
		at := witness.join("orders", "")
		r.publishMany("orders", 1, 1, func(ev *broker.Event) { ev.MessageID = "mine"; ev.Extras = []byte(`{"headers":{"a":1}}`) })
		r.publishMany("orders", 2, 2)
		live := []string{witness.next().text, witness.next().text}
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.StreamID, at.Serial, "")
		if diff := cmp.Diff(live, []string{p.next().text, p.next().text}); diff != "" {
			t.Errorf("frames (-live +replayed):\n%s", diff)
		}
		p.summary()
	})
	t.Run("RE-01 nothing was missed", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		at := start(t, r, "orders")
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, at.Serial, "")
		if s := p.summary(); len(s.Recovered) != 1 || s.Recovered[0].Replayed != 0 || s.Recovered[0].Position.Serial != at.Serial {
			t.Errorf("got %+v", s)
		}
		p.alive()
	})
	t.Run("RE-03 a resume that overtakes the subscription of a private channel waits for it", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		var at position
		subscribe := func(p *peer, id string) message {
			p.say(`{"event":"sockudo:subscribe","data":{"channel":"private-a","auth":"key:%s"}}`, pusher.SignChannel("secret", id, "private-a", "", false))
			return p.want("sockudo_internal:subscription_succeeded")
		}
		r.publishMany("private-a", 1, 2)
		p, id := r.second()
		m := subscribe(p, id)
		at = position{Stream: m.StreamID, Serial: m.Serial}
		p.hangUp()
		r.publishMany("private-a", 3, 5)
		p, id = r.second()
		p.from("private-a", at.Stream, at.Serial, "")
		p.summaryOf(0, 0)
		p.say(`{"event":"sockudo:subscribe","data":{"channel":"private-a","auth":"key:wrong"}}`)
		p.want("sockudo:error")
		p.want("sockudo:subscription_error")
		p.alive()
		subscribe(p, id)
		if diff := cmp.Diff(numbers(3, 5), p.events(3)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		p.summaryOf(1, 0)
	})
	t.Run("RE-04 a resume for a channel that is never subscribed delivers nothing", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		at := start(t, r, "never-joined")
		r.publishMany("never-joined", 6, 9)
		p, _ := r.second()
		p.from("never-joined", at.Stream, at.Serial, "")
		p.summaryOf(0, 0)
		p.join("other", "")
		r.publish("never-joined", "tick", "10")
		r.publish("other", "tick", "1")
		if m := p.want("tick"); m.Channel != "other" {
			t.Errorf("got %s", m.text)
		}
		p.alive()
	})
	t.Run("RE-05 RE-06 failures come before the summary, with the channel in their data", func(t *testing.T) {
		r := timeRig(t, memory.Options{MaxMessages: 10}, func(_ *Options, a *appT) { a.Recovery.MaxEvents = 5 })
		at := start(t, r, "orders")
		last := r.publishMany("orders", 6, 20)
		for _, c := range []struct {
			name, stream string
			serial       uint64
			code         string
		}{
			{"another stream", "another", at.Serial, "stream_reset"},
			{"no stream", "", at.Serial, "continuity_unverifiable"},
			{"above the newest", at.Stream, last.Offset + 1, "continuity_unverifiable"},
			{"far above the newest", at.Stream, 1<<53 - 1, "continuity_unverifiable"},
			{"not kept any more", at.Stream, at.Serial, "position_expired"},
			{"the beginning", at.Stream, 0, "position_expired"},
			{"more than may be missed", at.Stream, last.Offset - 6, "position_expired"},
		} {
			p, _ := r.second()
			p.join("orders", "")
			p.from("orders", c.stream, c.serial, "")
			m := p.want("sockudo:resume_failed")
			var f failure
			m.inner(t, &f)
			if m.Channel != "orders" || f.Channel != "orders" || f.Code != c.code || f.Current == nil || *f.Current != last.Epoch {
				t.Errorf("%s: got %s, want code %s", c.name, m.text, c.code)
			}
			if f.Oldest == nil || f.Newest == nil || *f.Newest != last.Offset || *f.Oldest <= at.Serial {
				t.Errorf("%s: got %s, want what there is", c.name, m.text)
			}
			s := p.summary()
			if len(s.Recovered) != 0 || len(s.Failed) != 1 || s.Failed[0].Code != c.code || s.Failed[0].Channel != "orders" {
				t.Errorf("%s: got %+v", c.name, s)
			}
			p.alive()
			r.publish("live", "tick", "1")
		}
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, last.Offset-5, "")
		p.events(5)
		p.summaryOf(1, 0)
	})
	t.Run("RE-07 TF-14 the position is the last one, also when a filter hid the last events", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
		at := start(t, r, "orders")
		tagged := func(kind string) func(*broker.Event) {
			return func(ev *broker.Event) { ev.Tags = map[string]string{"kind": kind} }
		}
		r.publishMany("orders", 6, 6, tagged("a"))
		last := r.publishMany("orders", 7, 8, tagged("b"))
		p, _ := r.second()
		p.join("orders", `,"filter":{"key":"kind","cmp":"eq","val":"a"}`)
		p.from("orders", at.Stream, at.Serial, "")
		if diff := cmp.Diff(numbers(6, 6), p.events(1)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		if s := p.summary(); len(s.Recovered) != 1 || s.Recovered[0].Replayed != 1 || s.Recovered[0].Position.Serial != last.Offset {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("RE-07 the position is never below what came before the summary", func(t *testing.T) {
		slow := &slowHistory{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
			slow.History, o.History, a.Delta.Enabled = o.History, slow, false // with deltas the history would be read for bases
		})
		hot, cold := start(t, r, "hot"), start(t, r, "cold")
		slow.armed.Store(true)
		p, _ := r.second()
		p.join("hot", "")
		p.join("cold", "")
		p.say(`{"event":"sockudo:resume","data":{"channel_positions":{"hot":{"stream_id":%q,"serial":%d},"cold":{"stream_id":%q,"serial":%d}}}}`,
			hot.Stream, hot.Serial, cold.Stream, cold.Serial-2)
		<-slow.asked
		last := r.publishMany("hot", 6, 8)
		if diff := cmp.Diff(numbers(6, 8), p.events(3)); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
		close(slow.goOn)
		p.events(2)
		got := p.summary()
		for _, one := range got.Recovered {
			if want := (position{last.Epoch, last.Offset, fmt.Sprint(last.Epoch, "-", last.Offset)}); one.Channel == "hot" && one.Position != want {
				t.Errorf("got %+v, want %+v", one.Position, want)
			}
		}
		if len(got.Recovered) != 2 || len(got.Failed) != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("RE-01 a log that is away for a moment", func(t *testing.T) {
		shaky := &shakyHistory{}
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
			shaky.History, o.History, a.Delta.Enabled = o.History, shaky, false
		})
		at := start(t, r, "orders")
		shaky.fails.Store(3)
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, at.Serial-2, "")
		if diff := cmp.Diff(numbers(4, 5), p.events(2)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		p.summaryOf(1, 0)
		if shaky.fails.Load() > 0 {
			t.Error("the log was not asked again")
		}
	})
	t.Run("RE-08 replayed frames are plain, and the first tracked one after them is full", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		long := func(n int) string { return fmt.Sprintf(`{"n":%d,"text":%q}`, n, strings.Repeat("x", 200)) }
		p, _ := r.second()
		at := p.join("orders", "")
		p.hangUp()
		for n := range 3 {
			r.settled("orders", r.publish("orders", "tick", long(n)).Offset)
		}
		p, _ = r.second()
		p.say(`{"event":"sockudo:enable_delta_compression","data":{"algorithms":["fossil"]}}`)
		p.want("sockudo:delta_compression_enabled")
		p.join("orders", "")
		p.from("orders", at.StreamID, at.Serial, "")
		for range 3 {
			if m := p.want("tick"); m.Sequence != nil || m.Serial == 0 {
				t.Errorf("got %s, want a plain frame", m.text)
			}
		}
		p.summaryOf(1, 0)
		r.publish("orders", "tick", long(3))
		if m := p.want("tick"); m.Sequence == nil {
			t.Errorf("got %s, want a full frame", m.text)
		}
		r.publish("orders", "tick", long(4))
		p.want("sockudo:delta")
	})
	t.Run("RE-09 V1, without recovery, or malformed: error 4303 and nothing is replayed", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		off := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Recovery = app.Recovery{} })
		at := start(t, r, "orders")
		start(t, off, "orders")
		good := fmt.Sprintf(`{"channel_positions":{"orders":{"stream_id":%q,"serial":%d}}}`, at.Stream, at.Serial)
		r.publishMany("orders", 6, 7)
		off.publishMany("orders", 6, 7)
		for _, c := range []struct {
			rig        *rig
			path, data string
		}{
			{r, "/app/key?protocol=7", good}, {off, "/app/key?protocol=2", good},
			{r, "/app/key?protocol=2", `{}`}, {r, "/app/key?protocol=2", `{"channel_positions":{}}`}, {r, "/app/key?protocol=2", `[]`},
			{r, "/app/key?protocol=2", `"x"`}, {r, "/app/key?protocol=2", `{"channel_positions":{"orders":{"serial":-1}}}`},
		} {
			p := c.rig.dial(c.path)
			prefix, _, _ := strings.Cut(p.next().Event, ":")
			p.say(`{"event":"%s:subscribe","data":{"channel":"orders"}}`, prefix)
			p.want(prefix + "_internal:subscription_succeeded")
			p.say(`{"event":"%s:resume","data":%s}`, prefix, c.data)
			if m := p.want(prefix + ":error"); !strings.Contains(m.text, `"code":4303`) {
				t.Errorf("got %s", m.text)
			}
			p.say(`{"event":"%s:ping","data":{}}`, prefix)
			p.want(prefix + ":pong")
		}
	})
	t.Run("RE-05 a channel whose history may not be read says so, and is no fault of the log", func(t *testing.T) {
		var said bytes.Buffer
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
			a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "secret", Reading: app.Reading{Off: true}}})
			o.Logger = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		at := r.publishMany("secret", 1, 3)
		p, _ := r.second()
		p.join("secret", "")
		p.from("secret", at.Epoch, at.Offset-1, "")
		p.want("sockudo:resume_failed")
		s := p.summary()
		if len(s.Failed) != 1 || s.Failed[0].Code != string(pusher.PersistenceUnavailable) || !strings.HasPrefix(s.Failed[0].Reason, "the history of the channel is not to be read") {
			t.Errorf("got %+v", s)
		}
		if said.Len() > 0 {
			t.Errorf("the log says %s", said.String())
		}
	})
	t.Run("RE-10 the event that the client has seen is left out", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		at := start(t, r, "orders")
		r.publishMany("orders", 6, 6, func(ev *broker.Event) { ev.MessageID = "seen" })
		r.publishMany("orders", 7, 7)
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, at.Serial, `,"last_message_id":"seen"`)
		if diff := cmp.Diff(numbers(7, 7), p.events(1)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		p.summaryOf(1, 0)
	})
	t.Run("several channels have one summary", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		a, b := start(t, r, "a"), start(t, r, "b")
		r.publishMany("a", 6, 8)
		r.publishMany("b", 6, 7)
		p, _ := r.second()
		p.join("a", "")
		p.join("b", "")
		p.say(`{"event":"sockudo:resume","data":{"channel_positions":{"a":{"stream_id":%q,"serial":%d},"b":{"stream_id":%q,"serial":%d},"x":{"stream_id":"s","serial":1}}}}`,
			a.Stream, a.Serial, b.Stream, b.Serial)
		got := map[string][]string{}
		for range 5 {
			m := p.want("tick")
			got[m.Channel] = append(got[m.Channel], m.str())
		}
		if diff := cmp.Diff(map[string][]string{"a": numbers(6, 8), "b": numbers(6, 7)}, got); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		p.summaryOf(2, 0)
		p.alive()
	})
	t.Run("what a replay cannot hold at a time comes all the same", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
			o.QueueFrames, a.Recovery.MaxEvents = 16, 395
		})
		at := start(t, r, "orders")
		r.publishMany("orders", 6, 400)
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, at.Serial, "")
		if diff := cmp.Diff(numbers(6, 400), p.events(395)); diff != "" {
			t.Errorf("replayed (-want +got):\n%s", diff)
		}
		p.summaryOf(1, 0)
	})
	t.Run("TF-14 an unsubscription ends a replay", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) { o.QueueFrames, a.Recovery.MaxEvents = 16, 900 })
		at := start(t, r, "orders")
		r.publishMany("orders", 6, 900)
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", at.Stream, at.Serial, "")
		p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"orders"}}`)
		p.say(`{"event":"sockudo:ping","data":{}}`)
		// The summary comes after the answer if the replay has ended just before.
		for answered, summed := false, false; !answered || !summed; {
			switch m := p.next(); {
			case m.Event == "sockudo:pong":
				answered = true
			case m.Event == "sockudo:resume_success" && !summed:
				summed = true
			case m.Event != "tick" || answered:
				t.Fatalf("got %s", m.text)
			}
		}
		p.join("other", "")
		p.alive()
	})
}

// summaryOf checks the numbers of recovered and failed channels in a summary.
func (p *peer) summaryOf(recovered, failed int) {
	p.t.Helper()
	if s := p.summary(); len(s.Recovered) != recovered || len(s.Failed) != failed {
		p.t.Errorf("got %+v, want %d recovered and %d failed", s, recovered, failed)
	}
}
