package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/delta"
)

// randomEvent draws an event of any kind that matters to a resume.
func randomEvent(rt *rapid.T, n int, excluded string) *broker.Event {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
	size := rapid.SampledFrom([]int{0, 20, 200, 900}).Draw(rt, "size")
	data := fmt.Sprintf(`{"k":%q,"n":%d,"pad":%q}`, key, n, strings.Repeat("steady words ", size/13))
	switch rapid.IntRange(0, 11).Draw(rt, "kind") {
	case 0:
		data = fmt.Sprint(n)
	case 1:
		data = fmt.Sprintf(`{"k":%q,"n":%d,"x":"__delta_seq"}`, key, n)
	case 2:
		data = fmt.Sprintf("text %d %s", n, strings.Repeat("z", size))
	}
	ev := &broker.Event{Name: rapid.SampledFrom([]string{"tick", "tock"}).Draw(rt, "name"), Data: []byte(data), Origin: broker.OriginHTTP}
	ev.Tags = map[string]string{"t": rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tag")}
	switch rapid.IntRange(0, 7).Draw(rt, "exclude") {
	case 0:
		ev.ExcludeSocket = excluded
	case 1:
		ev.Delta = broker.DeltaNever
	case 2:
		ev.Delta = broker.DeltaAlways
	}
	return ev
}

// listen reads all frames queued for a V2 peer and returns the events.
func (p *peer) listen() (all []message) {
	p.t.Helper()
	p.say(`{"event":"sockudo:ping","data":{}}`)
	for {
		m := p.next()
		switch {
		case m.Event == "sockudo:pong":
			return all
		case m.Event == "sockudo:delta", !strings.HasPrefix(m.Event, "sockudo"):
			all = append(all, m)
		}
	}
}

func frameTexts(all []message) []string {
	out := []string{}
	for _, m := range all {
		out = append(out, m.text)
	}
	return out
}

// TestTime02ResumingIsLikeHavingStayed: a client that kept its bases and resumes gets, byte for byte, the
// frames it would have got had it stayed. A plain client gets the same events. This holds for any
// publications, any point of the cut, and through filters and exclusions.
func TestTime02ResumingIsLikeHavingStayed(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		o.Filters = true
		a.Delta.Path, a.Delta.Interval, a.Delta.MaxKeys = "k", 4, 2
		a.Recovery.MaxEvents = 1000
	})
	other := secondGateway(t, r)
	round, deltas := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		channel, n := fmt.Sprint("ch", round), 0
		filter := rapid.SampledFrom([]string{"", `,"filter":{"key":"t","cmp":"eq","val":"x"}`, `,"filter":{"events":["tick"]}`}).Draw(rt, "filter")
		algorithm := rapid.SampledFrom([]string{"fossil", "xdelta3"}).Draw(rt, "algorithm")
		open := func(r *rig) (*peer, string) {
			p, id := r.second()
			p.say(`{"event":"sockudo:enable_delta_compression","data":{"algorithms":[%q]}}`, algorithm)
			p.want("sockudo:delta_compression_enabled")
			return p, id
		}
		stayed, id := open(r)
		defer stayed.hangUp()
		at := stayed.join(channel, filter)
		r.live(channel)
		var last broker.Receipt
		excluded := id
		publish := func(label string) []message {
			for range rapid.IntRange(0, 15).Draw(rt, label) {
				n++
				got, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: channel, Event: randomEvent(rt, n, excluded)})
				if err != nil {
					rt.Fatal(err)
				}
				last = got[0]
			}
			r.settled(channel, last.Offset)
			other.settled(channel, last.Offset)
			return stayed.listen()
		}
		before := publish("before the cut")
		place, lastID := at.Serial, at.MessageID
		for _, m := range before {
			place, lastID = m.Serial, m.MessageID
		}
		missed := publish("during the absence")
		for _, m := range missed {
			if m.Event == "sockudo:delta" {
				deltas++
			}
		}
		kept, _ := open(r)
		defer kept.hangUp()
		kept.join(channel, filter)
		salt := ""
		if rapid.Bool().Draw(rt, "says how its bases are numbered") {
			c := r.channel(channel)
			salt = fmt.Sprintf(`,"bases_salt":%d`, delta.Number(0, c.Rules().Salt(c.Line, at.StreamID)))
		}
		positions := fmt.Sprintf(`{"channel_positions":{%q:{"stream_id":%q,"serial":%d,"last_message_id":%q,"bases_since":%d%s}},"socket_id":%q}`, channel, at.StreamID, place, lastID, at.Serial, salt, id)
		kept.say(`{"event":"sockudo:resume","data":%s}`, positions)
		if diff := cmp.Diff(frameTexts(missed), frameTexts(kept.replayed())); diff != "" {
			rt.Fatalf("resumed from %d with bases since %d (-stayed +resumed):\n%s", place, at.Serial, diff)
		}
		// A plain client on each of the two gateways.
		var plain [2]*peer
		for i, g := range []*rig{r, other} {
			p, _ := g.second()
			defer p.hangUp()
			plain[i] = p
			p.join(channel, filter)
			p.say(`{"event":"sockudo:resume","data":{"channel_positions":{%q:{"stream_id":%q,"serial":%d,"last_message_id":%q}},"socket_id":%q}}`, channel, at.StreamID, place, lastID, id)
			if diff := cmp.Diff(serialsOf(missed), serialsOf(p.replayed())); diff != "" {
				rt.Fatalf("gateway %d resumed from %d (-stayed +resumed):\n%s", i, place, diff)
			}
		}
		excluded = "" // From here on, stayed and kept are two different sockets.
		after := publish("afterwards")
		if diff := cmp.Diff(frameTexts(after), frameTexts(kept.listen())); diff != "" {
			rt.Fatalf("live after the resume (-stayed +resumed):\n%s", diff)
		}
	})
	if deltas == 0 {
		t.Error("no delta was missed: the test shows nothing")
	}
}

// replayed reads up to the summary of a resume and returns the events.
func (p *peer) replayed() (all []message) {
	p.t.Helper()
	for {
		m := p.next()
		if m.Event == "sockudo:resume_success" {
			if strings.Contains(m.text, `\"failed\":[{`) {
				p.t.Fatalf("got %s", m.text)
			}
			return all
		}
		all = append(all, m)
	}
}

func serialsOf(all []message) []uint64 {
	out := []uint64{}
	for _, m := range all {
		out = append(out, m.Serial)
	}
	return out
}

// live waits until no subscription waits for a resume.
func (r *rig) live(channel string) {
	r.t.Helper()
	c := r.channel(channel)
	for i := range c.Shards {
		c.Shards[i].Served() // A subscription that was answered is in the shard after this call.
	}
	eventually(r.t, "all subscriptions are live", func() bool { return r.hub.hall.Catching.Load() == 0 })
}

// secondGateway returns another gateway on the log of the first.
func secondGateway(t *testing.T, r *rig) *rig {
	log := r.log
	other := newRig(t, func(o *Options, a *appT) {
		filters, app := r.hub.opt.Filters, *r.app
		o.Feed, o.History, o.Publisher, o.Filters = log, log, log, filters
		*a = app
	})
	_ = other.log.Close()
	other.log = unclosed{log}
	return other
}

// unclosed is a log that is closed elsewhere.
type unclosed struct{ broker.Log }

func (unclosed) Close() error { return nil }
