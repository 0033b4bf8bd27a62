package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// forgedPlaces returns positions that no honest client has, by their defect. Each comes with the failure code
// of a resume, empty if the whole request is malformed (4303).
func forgedPlaces(stream string, newest uint64) map[string][2]string {
	at := func(stream string, serial any) string {
		return fmt.Sprintf(`{"stream_id":%q,"serial":%v}`, stream, serial)
	}
	return map[string][2]string{
		"above the newest":          {at(stream, newest+1000), "continuity_unverifiable"},
		"the largest that is whole": {at(stream, uint64(9007199254740991)), "continuity_unverifiable"},
		"a string above 2^53":       {at(stream, `"9007199254740993"`), "continuity_unverifiable"},
		"a string above 64 bits":    {at(stream, `"99999999999999999999999"`), "continuity_unverifiable"},
		"a foreign stream":          {at("other", newest), "stream_reset"},
		"a stream with a mark":      {at(stream+"-1", newest), "stream_reset"},
		"a part of the stream":      {at(stream[:len(stream)-1], newest), "stream_reset"},
		"no stream":                 {fmt.Sprintf(`{"serial":%d}`, newest), "continuity_unverifiable"},
		"an empty stream":           {at("", newest), "continuity_unverifiable"},
		"an id that is no id":       {fmt.Sprintf(`{"stream_id":"\u0000\n","serial":%d}`, newest), "stream_reset"},
		"below zero":                {at(stream, -1), ""},
		"a fraction":                {at(stream, 1.5), ""},
		"more than 64 bits":         {at(stream, "18446744073709551616"), ""},
		"not a number":              {at(stream, `"x"`), ""},
		"a list":                    {at(stream, "[]"), ""},
		"no serial":                 {fmt.Sprintf(`{"stream_id":%q}`, stream), ""},
	}
}

// TestTime07ForgedPlaces: every request that takes a position answers an impossible one with the documented
// failure, and the connection goes on.
func TestTime07ForgedPlaces(t *testing.T) {
	r := timeRig(t, memory.Options{MaxMessages: 20}, nil)
	last := r.publishMany("orders", 1, 30)
	for what, c := range forgedPlaces(last.Epoch, last.Offset) {
		t.Run("RE-05 RE-09 resume: "+what, func(t *testing.T) {
			p, _ := r.second()
			p.join("orders", "")
			text, _ := json.Marshal(`{"channel_positions":{"orders":` + c[0] + `}}`)
			p.say(`{"event":"sockudo:resume","data":%s}`, text)
			if c[1] == "" {
				if m := p.want("sockudo:error"); !strings.Contains(m.text, "4303") {
					t.Errorf("got %s", m.text)
				}
			} else {
				var f failure
				if p.want("sockudo:resume_failed").inner(t, &f); f.Code != c[1] || f.Channel != "orders" {
					t.Errorf("got %+v, want %s", f, c[1])
				}
				p.summary()
			}
			// Events of other subtests may have been queued when it subscribed.
			r.publish("orders", "tick", what)
			for p.events(1)[0] != what {
			}
			p.alive()
		})
	}
	t.Run("RE-05 resume: evicted", func(t *testing.T) {
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", last.Epoch, 1, "")
		var f failure
		if p.want("sockudo:resume_failed").inner(t, &f); f.Code != "position_expired" || f.Oldest == nil || *f.Oldest == 0 {
			t.Errorf("got %+v", f)
		}
		p.summary()
		p.alive()
	})
	for what, c := range map[string]struct{ id, gap string }{
		"a foreign stream": {string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: "other", Serial: 5}}, 0)), "stream_reset"},
		"ahead":            {string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: last.Epoch, Serial: last.Offset + 1000}}, 0)), "continuity_unverifiable"},
		"evicted":          {string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: last.Epoch, Serial: 1}}, 0)), "position_expired"},
	} {
		t.Run("event streams: "+what, func(t *testing.T) {
			rd := r.get("channel=orders", "Last-Event-ID: "+c.id)
			gap := ""
			for e := rd.next(); e.kind != "resumed"; e = rd.next() {
				if e.kind == "gap" {
					gap = e.data
				} else if e.kind != "subscribed" {
					t.Errorf("got %+v", e)
				}
			}
			if !strings.Contains(gap, c.gap) {
				t.Errorf("the gap is %q, want %s", gap, c.gap)
			}
		})
	}
	for what, id := range map[string]string{
		"junk": "x", "of two channels": string(pusher.AppendPlaces(nil, make([]pusher.Place, 2), 7)), "too long": strings.Repeat("9", 5000), "a number": "-1",
	} {
		t.Run("event streams: an id that is "+what, func(t *testing.T) {
			rd := r.get("channel=orders&since=" + url.QueryEscape(id))
			if rd.resp.StatusCode != 400 && rd.resp.StatusCode != 431 {
				e := rd.next()
				t.Errorf("answered %s and %+v", rd.resp.Status, e)
			}
		})
	}
}

// TestTime07NoPastWithoutASignature: a channel that needs a signature shows nothing of its history, through
// any request, to a client without a valid one.
func TestTime07NoPastWithoutASignature(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	for _, channel := range []string{"private-room", "private-encrypted-room", "presence-room", "private-cache-room"} {
		at := r.publish(channel, "tick", "secret")
		p, id := r.second()
		data := ""
		if strings.HasPrefix(channel, "presence") {
			data = `{"user_id":"u"}`
		}
		for what, auth := range map[string]string{
			"no signature": "", "of another socket": "key:" + pusher.SignChannel("secret", "1.1", channel, data, data != ""),
			"of another channel":  "key:" + pusher.SignChannel("secret", id, "private-other", data, data != ""),
			"with another key":    "other:" + pusher.SignChannel("secret", id, channel, data, data != ""),
			"with another secret": "key:" + pusher.SignChannel("guess", id, channel, data, data != ""),
		} {
			t.Run("RW-04 RE-04 "+channel+" "+what, func(t *testing.T) {
				p.from(channel, at.Epoch, 0, "")
				p.summary()
				for _, wish := range []string{`10`, `{"seconds":3600}`, `{"latest":true}`} {
					member := fmt.Sprintf(`,"auth":%q,"rewind":%s`, auth, wish)
					if data != "" {
						member += fmt.Sprintf(`,"channel_data":%q`, data)
					}
					p.say(`{"event":"sockudo:subscribe","data":{"channel":%q%s}}`, channel, member)
					p.want("sockudo:error")
					if m := p.want("sockudo:subscription_error"); strings.Contains(m.text, "secret") {
						t.Errorf("got %s", m.text)
					}
				}
				p.say(`{"event":"sockudo:channel_history","data":{"channel":%q}}`, channel)
				if m := p.want("sockudo:error"); strings.Contains(m.text, "secret") {
					t.Errorf("got %s", m.text)
				}
				p.alive()
				rd := r.get("channel=" + channel + "&auth=" + url.QueryEscape(auth) + "&rewind=10")
				if code := rd.resp.StatusCode; code < 400 || code >= 500 {
					t.Errorf("an event stream is answered %s", rd.resp.Status)
				}
			})
		}
	}
}

// TestTime07ResumesWithoutEnd: a client that resumes again before the previous resume has ended gets one
// summary for each, and no more events than were replayed.
func TestTime07ResumesWithoutEnd(t *testing.T) {
	const times = 200
	r := timeRig(t, memory.Options{}, nil)
	first := r.publish("orders", "tick", "0")
	r.publishMany("orders", 1, 60)
	p, _ := r.second()
	p.join("orders", "")
	summaries, events := 0, 0
	for range times {
		p.from("orders", first.Epoch, first.Offset, "")
		p.say(`{"event":"sockudo:delta_sync_error","data":{"channel":"orders"}}`)
	}
	for summaries < times {
		switch m := p.next(); m.Event {
		case "sockudo:resume_success":
			summaries++
		case "tick":
			events++
		}
	}
	if events < 60 || events > 60*times {
		t.Errorf("%d events", events)
	}
	r.publish("orders", "tick", "live")
	if got := p.events(1); got[0] != "live" {
		t.Errorf("got %v", got)
	}
	p.alive()
	eventually(t, "nobody is sent the past", func() bool { return r.hub.hall.Catching.Load() == 0 })
}

// TestTime07TheEndInTheMiddleOfAReplay: a disconnect or a stop of the gateway in the middle of a replay
// leaves nothing behind.
func TestTime07TheEndInTheMiddleOfAReplay(t *testing.T) {
	for what, end := range map[string]func(r *rig, p *peer){
		"the client goes": func(_ *rig, p *peer) { p.hangUp() },
		"it unsubscribes and goes": func(_ *rig, p *peer) {
			p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"orders"}}`)
			p.hangUp()
		},
		"it resumes again and goes": func(_ *rig, p *peer) { p.say(`{"event":"sockudo:resume","data":{"channel_positions":{}}}`); p.hangUp() },
		"the gateway stops":         func(r *rig, _ *peer) { _ = r.hub.Close(context.Background()) },
	} {
		t.Run(what, func(t *testing.T) {
			r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.QueueFrames = 8 })
			first := r.publish("orders", "tick", "0")
			for n := range 90 {
				r.publish("orders", "tick", strings.Repeat("x", 4000)+fmt.Sprint(n))
			}
			p, _ := r.second()
			p.join("orders", "")
			p.pause()
			p.from("orders", first.Epoch, first.Offset, "")
			ends := make(chan struct{})
			go func() {
				defer close(ends)
				end(r, p)
			}()
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ends:
			}
			p.resume()
			<-ends
			eventually(t, "nobody is sent the past", func() bool { return r.hub.hall.Catching.Load() == 0 })
		})
	}
}
