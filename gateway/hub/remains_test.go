package hub

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// bigFilter returns a filter of about size bytes; n makes it different from others.
func bigFilter(n, size int) string {
	const leaf = `{"key":"k","cmp":"in","vals":[1,2,3,4,5,6,7,8,9]},`
	nodes := strings.Repeat(leaf, min(max(size/len(leaf), 0), 120))
	return fmt.Sprintf(`{"op":"or","nodes":[%s{"key":"k","cmp":"eq","val":"%d"}]}`, nodes, n)
}

// answered subscribes, and returns nil or the refusal.
func (p *peer) answered(channel, members string) *message {
	p.t.Helper()
	p.say(`{"event":"pusher:subscribe","data":{"channel":%q%s}}`, channel, members)
	for {
		switch m := p.next(); m.Event {
		case "pusher_internal:subscription_succeeded":
			return nil
		case "pusher:subscription_error":
			return &m
		}
	}
}

func TestTrust09FiltersOfOneConnection(t *testing.T) {
	const limit = 256 << 10
	r := newRig(t, func(o *Options, _ *appT) { o.Filters, o.MaxFilterBytes = true, limit })
	bytes := func() int64 { return r.hub.filters.Size() }
	p, _ := r.connect()
	t.Run("one that is too long names its size and the limit", func(t *testing.T) {
		m := p.answered("c", `,"filter":{"events":["`+strings.Repeat("x", 17<<10)+`"]}`)
		if m == nil || !strings.Contains(m.text, "FilterError") || !strings.Contains(m.text, "the limit is 16384") {
			t.Errorf("got %v", m)
		}
	})
	granted := 0
	t.Run("all together are bounded", func(t *testing.T) {
		for granted < 1000 {
			m := p.answered(fmt.Sprint("c-", granted), `,"filter":`+bigFilter(granted, 4000))
			if m != nil {
				if !strings.Contains(m.text, "FilterError") || !strings.Contains(m.text, "tag_filtering.max_bytes_per_connection") {
					t.Errorf("got %s", m.text)
				}
				break
			}
			granted++
		}
		eventually(t, "what was refused is given up", func() bool { return bytes() <= limit })
		if granted < 3 || granted > 20 {
			t.Errorf("%d filters with %d bytes, the limit is %d", granted, bytes(), limit)
		}
		if r.limited("filter_bytes") != 1 {
			t.Error("the limit is not counted")
		}
	})
	t.Run("equal ones count once, on all connections", func(t *testing.T) {
		before := bytes()
		other, _ := r.connect()
		for i := range 100 {
			if m := other.answered(fmt.Sprint("d-", i), `,"filter":`+bigFilter(0, 4000)); m != nil {
				t.Fatalf("got %s", m.text)
			}
		}
		eventually(t, "they are kept once", func() bool { return bytes() == before })
		other.hangUp()
	})
	t.Run("one gives way to another, and to none", func(t *testing.T) {
		before := bytes()
		if m := p.answered("c-0", `,"filter":`+bigFilter(5000, 4000)); m != nil {
			t.Errorf("got %s", m.text)
		}
		eventually(t, "the other connection is gone", func() bool { return bytes() <= before+16 })
		if m := p.answered("c-0", ""); m != nil {
			t.Errorf("got %s", m.text)
		}
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"c-1"}}`)
		if m := p.answered("e", `,"filter":`+bigFilter(6000, 4000)); m != nil {
			t.Errorf("got %s", m.text)
		}
	})
	p.hangUp()
	eventually(t, "nothing is left", func() bool { return bytes() == 0 })
}

// TestTrust09RefusedSubscriptionsLeaveNothing: a refused subscription keeps no filter.
func TestTrust09RefusedSubscriptionsLeaveNothing(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.Filters, o.MaxSubscriptions = true, 1 })
	p, _ := r.connect()
	for i, c := range []string{"private-x", "presence-x", "bad name", "#server-to-user-x"} {
		if m := p.answered(c, `,"filter":`+bigFilter(i, 100)); m == nil {
			t.Errorf("%s was granted", c)
		}
	}
	p.subscribe("first")
	if m := p.answered("second", `,"filter":`+bigFilter(9, 100)); m == nil {
		t.Error("a subscription too many was granted")
	}
	eventually(t, "nothing is left", func() bool { return r.hub.filters.Size() == 0 })
}

// TestTrust09MessagesLeaveNothingBehind: the memory that a connection keeps of its requests does not depend
// on the unused bytes in them.
func TestTrust09MessagesLeaveNothingBehind(t *testing.T) {
	const n, junk = 200, 60 << 10
	padding := strings.Repeat("x", junk)
	for _, c := range []struct {
		name string
		say  func(r *rig, p *peer, id string, i int)
	}{
		{"subscriptions", func(_ *rig, p *peer, _ string, i int) {
			p.say(`{"event":"pusher:subscribe","data":{"channel":"c-%d","auth":"%s"}}`, i, padding)
		}},
		{"subscriptions in a string", func(_ *rig, p *peer, _ string, i int) {
			inner, _ := json.Marshal(fmt.Sprintf(`{"channel":"c-%d","delta":{"junk":"%s"}}`, i, padding))
			p.say(`{"event":"pusher:subscribe","data":%s}`, inner)
		}},
		{"private subscriptions", func(r *rig, p *peer, id string, i int) {
			channel := fmt.Sprint("private-c-", i)
			auth := "key:" + pusher.SignChannel("secret", id, channel, "", false)
			p.say(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"channel_data":null,"junk":"%s"}}`, channel, auth, padding)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(o *Options, _ *appT) { o.Filters = true })
			p, id := r.connect()
			before := heap()
			for i := range n {
				c.say(r, p, id, i)
				p.want("pusher_internal:subscription_succeeded")
			}
			// It would be 12 MiB if the messages were kept.
			if took := heap() - before; took > 4<<20 {
				t.Errorf("%d subscriptions keep %d KiB", n, took>>10)
			}
		})
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
