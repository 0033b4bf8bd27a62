package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestTime08EventStreamsOnEveryLog: readers of event streams get the events they missed after their last id,
// or a gap with the reason, from each log, at the gateway that they left and at others.
func TestTime08EventStreamsOnEveryLog(t *testing.T) {
	onEveryLog(t, map[string]func(*coming, *testing.T, string){
		"exactly what was missed":        streamMissed,
		"nothing was missed":             streamMissedNothing,
		"from channels without any":      streamFromNothing,
		"what was acknowledged just now": streamJustNow,
		"gaps":                           streamGaps,
		"beginnings":                     streamBegins,
		"private channels":               streamPrivate,
		"what is not stored":             streamFleeting,
		"what is asked wrongly":          streamRefused,
	})
}

// beside returns the channels for a reader of several: this one, a second one, and a quiet one.
func beside(channel string) []string { return []string{channel, channel + ".b", channel + ".quiet"} }

// since returns a browser that reconnects with an id.
func (c *coming) since(id string, channels ...string) *browser {
	b := newBrowser(c.app, channels...)
	places, err := pusher.ParsePlaces(id, channels)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, at := range places {
		b.places[channels[i]] = place{Stream: at.Stream, Serial: at.Serial}
	}
	b.last = id
	return b
}

func streamMissed(c *coming, t *testing.T, channel string) {
	for _, channels := range [][]string{{channel}, beside(channel + ".all")} {
		for _, name := range channels {
			c.follow(name)
		}
		b := newBrowser(c.app, channels...)
		r := b.come(t, c.here)
		flood(t, c.here, c.app, channels[0], 1, 5)
		eventually(t, "the reader has the first events", func() bool { return b.count(channels[0]) == 5 })
		r.leave()
		left := b.id()
		n := 1505
		if len(channels) > 1 {
			n = 205
		}
		for _, name := range channels[:min(2, len(channels))] {
			flood(t, c.there, c.app, name, 6, n)
		}
		c.everywhere(func(where, gate string) {
			b := c.since(left, channels...)
			r := b.come(t, gate)
			n++
			for _, name := range channels {
				flood(t, c.there, c.app, name, n, n)
				want := upTo(6, n)
				if strings.HasSuffix(name, ".quiet") {
					want = upTo(206, n)
				}
				eventually(t, where+": the live event has come", func() bool { return b.count(name) >= len(want) })
				if diff := cmp.Diff(want, b.has(name)); diff != "" {
					t.Errorf("%s, %s of %d (-want +got):\n%s", where, name, len(channels), diff)
				}
			}
			b.fine(t, where)
			r.leave()
		})
	}
}

func streamMissedNothing(c *coming, t *testing.T, channel string) {
	channels := beside(channel)
	c.follow(channel)
	b := newBrowser(c.app, channels...)
	b.come(t, c.here).leave()
	n := 0
	c.everywhere(func(where, gate string) {
		r := b.come(t, gate)
		n++
		flood(t, c.there, c.app, channel, n, n)
		eventually(t, where+": the live event has come", func() bool { return b.count(channel) >= n })
		r.leave()
	})
	if diff := cmp.Diff(upTo(1, n), b.has(channel)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.fine(t, "nothing missed")
}

// streamFromNothing resumes from a channel without events, while other channels have some.
func streamFromNothing(c *coming, t *testing.T, channel string) {
	flood(t, c.here, c.app, "other_"+channel, 1, 30)
	for _, missed := range []int{0, 3} {
		c.everywhere(func(where, gate string) {
			name := fmt.Sprint(channel, missed, strings.ReplaceAll(where, " ", "-"))
			b := newBrowser(c.app, name)
			b.come(t, c.here).leave()
			flood(t, c.here, c.app, "other_"+channel, 1, 5)
			flood(t, c.here, c.app, name, 1, missed)
			r := b.come(t, gate)
			flood(t, c.there, c.app, name, missed+1, missed+1)
			eventually(t, where+": the live event has come", func() bool { return b.count(name) > missed || len(b.refused(name)) > 0 })
			if diff := cmp.Diff(upTo(1, missed+1), b.has(name)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", where, diff)
			}
			b.fine(t, where)
			r.leave()
		})
	}
}

// streamJustNow resumes from a position that a replica of the log may not have yet.
func streamJustNow(c *coming, t *testing.T, channel string) {
	gates := []string{c.here, c.there, c.join()}
	b := newBrowser(c.app, channel, channel+".quiet")
	for i := range 30 {
		r := b.come(t, gates[i%3])
		flood(t, gates[(i+1)%3], c.app, channel, i+1, i+1)
		eventually(t, "the event has come", func() bool { return b.count(channel) > i })
		r.leave()
	}
	if diff := cmp.Diff(upTo(1, 30), b.has(channel)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.fine(t, "from gateway to gateway")
}

// streamGaps: a gap is reported before live events, and other channels are not affected.
func streamGaps(c *coming, t *testing.T, channel string) {
	other := channel + ".other"
	b := newBrowser(c.app, channel, other)
	b.come(t, c.here).leave()
	begin := b.id()
	flood(t, c.there, c.app, other, 1, 3)
	flood(t, c.there, c.app, channel, 1, mayMiss+1)
	newest := newBrowser(c.app, channel)
	newest.since = "1"
	r := newest.come(t, c.here)
	eventually(t, "the gateway has the last event", func() bool { return slices.Contains(newest.has(channel), fmt.Sprint(mayMiss+1)) })
	r.leave()
	last := newest.at(channel)
	sum := begin[strings.IndexByte(begin, ';'):]
	is, _ := pusher.ParsePlaces(begin, []string{channel, other})
	c.everywhere(func(where, gate string) {
		for name, bad := range map[string]struct{ id, code string }{
			"too far":              {begin, "position_expired"},
			"another stream":       {fmt.Sprintf("another:%d,%s:%d", last.Serial, is[1].Stream, is[1].Serial), "stream_reset"},
			"above the newest":     {fmt.Sprintf("%s:%d,%d", last.Stream, last.Serial+1_000_000, is[1].Serial), "continuity_unverifiable"},
			"far above the newest": {fmt.Sprintf("%s:%d,%d", last.Stream, 1<<53-1, is[1].Serial), "continuity_unverifiable"},
		} {
			id := bad.id
			if !strings.Contains(id, ";") {
				id += sum
			}
			b := c.since(id, channel, other)
			r := b.come(t, gate)
			eventually(t, where+": the other channel has come back", func() bool { return b.count(other) == 3 })
			r.leave()
			if gaps := b.refused(channel); len(gaps) != 1 || gaps[0].code != bad.code || gaps[0].live || b.count(channel) > 0 || len(b.wrong) > 0 {
				t.Errorf("%s, %s: got %+v and %d events, wrong %v; want %s", where, name, gaps, b.count(channel), b.wrong, bad.code)
			}
			if got := b.at(channel); got != last || len(b.refused(other)) > 0 {
				t.Errorf("%s, %s: it is at %+v then, want %+v; the other channel misses %+v", where, name, got, last, b.refused(other))
			}
			// The browser resumes from the position at which it became live, and is told of no further gap.
			b.come(t, gate).leave()
			if gaps := b.refused(channel); len(gaps) != 1 {
				t.Errorf("%s, %s: once more %+v", where, name, gaps)
			}
		}
	})
}

func streamBegins(c *coming, t *testing.T, channel string) {
	c.follow(channel)
	flood(t, c.here, c.app, channel, 1, 40)
	for _, gate := range []string{c.here, c.there} {
		b := newBrowser(c.app, channel)
		b.since = "40"
		r := b.come(t, gate)
		eventually(t, "the gateways have what was published", func() bool { return b.count(channel) == 40 })
		r.leave()
	}
	c.everywhere(func(where, gate string) {
		for since, want := range map[string][]string{"20": upTo(21, 40), "10m": upTo(1, 40), "1000": upTo(1, 40), "latest": upTo(40, 40)} {
			b := newBrowser(c.app, channel)
			b.since = since
			r := b.come(t, gate)
			if got := b.has(channel); !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %q, want %q", where, since, got, want)
			}
			r.leave()
			if len(b.wrong) > 0 {
				t.Errorf("%s, %s: %v", where, since, b.wrong)
			}
		}
	})
}

// streamPrivate reads a private channel beside a public one, with a signature.
func streamPrivate(c *coming, t *testing.T, channel string) {
	channels := []string{"private-" + channel, channel}
	b := newBrowser(c.app, channels...)
	expires := time.Now().Add(time.Hour).Unix()
	b.more = url.Values{"expires": {fmt.Sprint(expires)}, "token": {pusher.SignEvents(c.app.Key, c.app.Secret.Reveal(), channels, expires)}}
	n := 0
	c.everywhere(func(where, gate string) {
		r := b.come(t, gate)
		for _, name := range channels {
			flood(t, c.there, c.app, name, n+1, n+2)
			eventually(t, where+": the live events have come", func() bool { return b.count(name) == n+2 })
		}
		r.leave()
		for _, name := range channels {
			flood(t, c.there, c.app, name, n+3, n+4)
		}
		n += 4
	})
	// A gateway may be behind the one that published. Then it delivers these events live.
	r := b.come(t, c.here)
	for _, name := range channels {
		eventually(t, "all have come", func() bool { return b.count(name) >= n })
	}
	r.leave()
	for _, name := range channels {
		if diff := cmp.Diff(upTo(1, n), b.has(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	b.fine(t, "private")
}

// streamFleeting: ephemeral events are delivered and change no position.
func streamFleeting(c *coming, t *testing.T, channel string) {
	b := newBrowser(c.app, channel)
	cast := func(from, data string) {
		t.Helper()
		body := fmt.Sprintf(`{"name":"blink","channel":%q,"data":%q,"extras":{"ephemeral":true}}`, channel, data)
		if status, text, err := send(from, c.app, http.MethodPost, "/events", body); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, text, err)
		}
	}
	c.everywhere(func(where, gate string) {
		r := b.come(t, gate)
		at := b.id()
		has := func(data string) (n int) {
			for _, got := range b.has(channel) {
				if got == data {
					n++
				}
			}
			return n
		}
		for i, from := range []string{c.here, c.there} {
			whether, data := fmt.Sprint(where, i, "whether"), fmt.Sprint(where, i)
			// The publisher's NATS server learns of the subscription a moment later.
			eventually(t, where+": it hears", func() bool { cast(from, whether); return has(whether) > 0 })
			cast(from, data)
			eventually(t, where+": it has come", func() bool { return has(data) > 0 })
			if n := has(data); n != 1 {
				t.Errorf("%s: an event came %d times", where, n)
			}
		}
		if b.id() != at {
			t.Errorf("%s: the id was %s and is %s", where, at, b.id())
		}
		r.leave()
	})
	b.fine(t, "ephemeral")
}

// streamRefused: a bad request is refused before the stream begins.
func streamRefused(c *coming, t *testing.T, channel string) {
	c.everywhere(func(where, gate string) {
		for query, want := range map[string]int{
			"": 400, "channel=" + channel + "&since=0": 400, "channel=" + channel + "&since=x:y": 400, "channel=presence-" + channel: 403,
			"channel=private-" + channel: 401, "channel=" + channel + "&channel=" + channel: 400,
		} {
			resp, err := direct.RoundTrip(must(http.NewRequest(http.MethodGet, "http://"+gate+"/app/"+c.app.Key+"/events?"+query, nil)))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			var said struct {
				Error, Code string
				Status      int
			}
			if err := json.Unmarshal(text, &said); err != nil || resp.StatusCode != want || said.Status != want || said.Error == "" || said.Code == "" {
				t.Errorf("%s, %s: answered %s %s, want %d", where, query, resp.Status, text, want)
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
