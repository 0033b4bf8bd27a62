package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// block is the part of an event stream between two empty lines, with the id that a browser would reconnect
// with after it. A block without data is dispatched to no handler, but its id counts.
type block struct {
	kind, data, last string
	// from the data
	channel string
	serial  uint64
}

// listener reads an event stream over net/http, as browsers do.
type listener struct {
	t      *testing.T
	blocks chan block
	stop   context.CancelFunc
	wakes  <-chan struct{} // once this is closed, until checks its condition again
	got    []block
	last   string
}

// listen requests an event stream. last is sent as Last-Event-ID, unless it is empty.
func (r *rig) listen(t *testing.T, query, last string) *listener {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{t: t, blocks: make(chan block, 100000), stop: stop, last: last}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server.URL+"/app/key/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("with %q: answered %s", last, resp.Status)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		defer close(l.blocks)
		readBlocks(bufio.NewScanner(resp.Body), last, l.blocks)
	}()
	return l
}

func readBlocks(in *bufio.Scanner, id string, into chan<- block) {
	in.Buffer(nil, 1<<20)
	var b block
	var data []string
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case in.Text() == "":
			b.data, b.last = strings.Join(data, "\n"), id
			var of struct {
				Channel string
				Serial  uint64
			}
			_ = json.Unmarshal([]byte(b.data), &of)
			b.channel, b.serial = of.Channel, of.Serial
			into <- b
			b, data = block{}, nil
		case name == "event":
			b.kind = value
		case name == "data":
			data = append(data, value)
		case name == "id":
			id = value
		}
	}
}

// until reads blocks until ok reports true.
func (l *listener) until(what string, ok func() bool) {
	l.t.Helper()
	late := time.After(patience)
	for !ok() {
		select {
		case b, open := <-l.blocks:
			if !open {
				l.t.Fatalf("the stream ended before %s; it was %+v", what, l.got)
			}
			l.got, l.last = append(l.got, b), b.last
		case <-l.wakes:
			l.wakes = nil
		case <-late:
			l.t.Fatalf("%s did not come; what came is %+v", what, l.got)
		}
	}
}

// rest reads the blocks up to the end of the stream, which must come.
func (l *listener) rest() {
	l.t.Helper()
	for b := range l.blocks {
		l.got, l.last = append(l.got, b), b.last
	}
}

// count returns the number of blocks of a kind and a channel, "" for any channel.
func (l *listener) count(kind, channel string) (n int) {
	for _, b := range l.got {
		if b.kind == kind && (channel == "" || b.channel == channel) {
			n++
		}
	}
	return n
}

// behindGap returns the blocks after the gap of a channel.
func (l *listener) behindGap(channel string) []block {
	at := slices.IndexFunc(l.got, func(b block) bool { return b.kind == "gap" && b.channel == channel })
	return l.got[at+1:]
}

// places parses an id. An empty id gives no position in any channel.
func places(t *testing.T, id string, channels []string) []pusher.Place {
	t.Helper()
	if id == "" {
		return make([]pusher.Place, len(channels))
	}
	at, err := pusher.ParsePlaces(id, channels)
	if err != nil {
		t.Fatalf("the id %q: %v", id, err)
	}
	return at
}

// neverBack checks that no id goes back in any channel.
func (l *listener) neverBack(channels []string, before string) {
	l.t.Helper()
	was := places(l.t, before, channels)
	for i, b := range l.got {
		is := places(l.t, b.last, channels)
		for c := range is {
			if was[c].Stream != "" && (is[c].Stream != was[c].Stream || is[c].Serial < was[c].Serial) {
				l.t.Errorf("block %d %+v: the id of %s goes from %+v to %+v", i, b, channels[c], was[c], is[c])
			}
		}
		was = is
	}
}

// idWorld is a log with a naive model of it.
type idWorld struct {
	*rig
	channels []string
	query    string
	// snapshots: the app sends a snapshot to every new subscriber. wish is the since parameter of the request.
	snapshots bool
	wish      string
	// log holds the offsets of each channel that pass the reader's filter, all holds all of them.
	log, all map[string][]uint64
	// newest holds the newest offset of each channel by conflation value.
	newest map[string]map[int]uint64
	count  int
}

const idsMissed = 30

func newIDWorld(t *testing.T, begins string, channels ...string) *idWorld {
	w := &idWorld{channels: channels, log: map[string][]uint64{}, all: map[string][]uint64{}, snapshots: begins == "snapshot"}
	w.newest = map[string]map[int]uint64{}
	w.rig = timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		o.Filters, a.Delta.Path = true, "k"
		a.Recovery.MaxEvents = idsMissed
		o.ActivityTimeout = 10 * time.Second
		if w.snapshots {
			a.Snapshots = []app.SnapshotPattern{{Match: "*", Snapshot: app.Snapshot{On: true}}}
		}
	})
	w.query = "channel=" + strings.Join(channels, "&channel=") + "&filter=" + url.QueryEscape(`{"events":["e"]}`)
	if begins != "none" && begins != "snapshot" && begins != "id" {
		w.wish = begins
		w.query += "&since=" + begins
	}
	return w
}

// say publishes events of these names. Their conflation values take turns.
func (w *idWorld) say(channel string, names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.count++
		at := w.publish(channel, name, fmt.Sprintf(`{"k":%d,"n":%d}`, w.count%3, w.count)).Offset
		w.all[channel] = append(w.all[channel], at)
		if w.newest[channel] == nil {
			w.newest[channel] = map[int]uint64{}
		}
		w.newest[channel][w.count%3] = at
		if name == "e" {
			w.log[channel] = append(w.log[channel], at)
		}
	}
	if len(names) > 0 {
		w.settled(channel, w.all[channel][len(w.all[channel])-1])
	}
}

// snapshot returns the newest event of each conflation value of a channel, without those that the filter
// drops.
func (w *idWorld) snapshot(channel string) (want []uint64) {
	for _, at := range w.newest[channel] {
		if slices.Contains(w.log[channel], at) {
			want = append(want, at)
		}
	}
	slices.Sort(want)
	return want
}

// stays checks that the id of a channel does not move until its snapshot has ended, whether the first
// snapshot or one after a gap.
func (w *idWorld) stays(blocks []block, at []pusher.Place) {
	w.t.Helper()
	for i, ch := range w.channels {
		began, was := at[i].Stream == "" && (w.snapshots || w.wish == "latest"), at[i]
		for n, b := range blocks {
			is := places(w.t, b.last, w.channels)[i]
			switch {
			case b.channel == ch && b.kind == "gap" && w.snapshots:
				began, was = true, is
			case b.channel == ch && b.kind == "snapshot_complete":
				began = false
			case began && is != was:
				w.t.Errorf("block %d %+v: the id of %s goes from %+v to %+v before its snapshot has ended", n, b, ch, was, is)
			}
		}
	}
}

func above(all []uint64, place uint64) []uint64 {
	i, found := slices.BinarySearch(all, place)
	if found {
		i++
	}
	return all[i:]
}

// arrives reads until the reader is live in all channels.
func (w *idWorld) arrives(l *listener, from string) {
	w.t.Helper()
	at := places(w.t, from, w.channels)
	l.until("that all is live", func() bool {
		if from != "" && l.count("resumed", "") == 0 {
			return false
		}
		for i, ch := range w.channels {
			begins := at[i].Stream == ""
			switch gap := l.count("gap", ch) > 0; {
			case l.count("subscribed", ch) == 0,
				w.snapshots && (begins || gap) && l.count("snapshot_complete", ch) == 0,
				begins && w.wish == "latest" && l.count("snapshot_complete", ch) == 0,
				begins && w.wish != "" && w.wish != "latest" && l.count("rewind_complete", ch) == 0:
				return false
			}
		}
		return true
	})
}

// serials returns the serials of the events of a channel.
func serials(blocks []block, channel string) (got []uint64) {
	for _, b := range blocks {
		if b.kind == "e" && b.channel == channel {
			got = append(got, b.serial)
		}
	}
	return got
}

// live reports whether the reader was told that a channel is live.
func (w *idWorld) live(blocks []block, channel string) bool {
	end := "subscribed"
	switch {
	case w.snapshots || w.wish == "latest":
		end = "snapshot_complete"
	case w.wish != "":
		end = "rewind_complete"
	}
	return slices.ContainsFunc(blocks, func(b block) bool { return b.kind == end && b.channel == channel })
}

// comesBack has a reader that was cut off after the blocks had reconnect with its last id, and compares what
// it has then with the log.
func (w *idWorld) comesBack(had []block, from string) {
	t := w.t
	t.Helper()
	last := from
	if len(had) > 0 {
		last = had[len(had)-1].last
	}
	l := w.listen(w.t, w.query, last)
	defer l.stop()
	w.arrives(l, last)
	l.neverBack(w.channels, last)
	w.stays(l.got, places(t, last, w.channels))
	at, end := places(t, last, w.channels), places(t, l.last, w.channels)
	for i, ch := range w.channels {
		before, then := serials(had, ch), serials(l.got, ch)
		told := fmt.Sprintf("%s after %d blocks with %q: had %v, then %v, gaps %d; the log %v", ch, len(had), last, before, then, l.count("gap", ch), w.log[ch])
		newest := uint64(0)
		if all := w.all[ch]; len(all) > 0 {
			newest = all[len(all)-1]
		}
		if end[i].Stream == "" || end[i].Serial < newest {
			t.Errorf("%s: live with the place %+v, and the newest is %d", told, end[i], newest)
		}
		asSnapshot := w.snapshots || w.wish == "latest"
		if at[i].Stream == "" {
			if w.live(had, ch) || len(before) > 0 && !asSnapshot {
				t.Errorf("%s: it was on its way or live, and has no place", told)
			}
			if asSnapshot && !slices.Equal(then, w.snapshot(ch)) {
				t.Errorf("%s: it begins again, and the snapshot is %v", told, w.snapshot(ch))
			}
			continue
		}
		if len(before) > 0 && before[len(before)-1] > at[i].Serial {
			t.Errorf("%s: it has more than its id says", told)
		}
		missed := above(w.log[ch], at[i].Serial)
		switch tooMuch := len(above(w.all[ch], at[i].Serial)) > idsMissed; {
		case l.count("gap", ch) == 1 && !tooMuch:
			t.Errorf("%s: the gap is not true: %+v", told, l.got)
		case l.count("gap", ch) == 0 && tooMuch:
			t.Errorf("%s: no gap was told", told)
		case l.count("gap", ch) == 0 && !slices.Equal(then, missed):
			t.Errorf("%s: want %v", told, missed)
		case l.count("gap", ch) > 0 && w.snapshots && !slices.Equal(serials(l.behindGap(ch), ch), w.snapshot(ch)):
			t.Errorf("%s: the snapshot is %v", told, w.snapshot(ch))
		case w.snapshots || w.wish == "latest":
			// The events before are the newest of each value only.
		case len(before) > 0 && !slices.Equal(before, above(w.log[ch][:len(w.log[ch])-len(missed)], before[0]-1)):
			t.Errorf("%s: it has not all up to its id", told)
		}
	}
}

// TestTime15WhatIsReadIsTheLogOnce: a reader may begin anywhere, any part of the publications may pass its
// filter, and it may be cut off anywhere. After it has reconnected, it has every event of the log that passes
// the filter, once, or it was told of a gap, and the gap is real.
func TestTime15WhatIsReadIsTheLogOnce(t *testing.T) {
	filtered := func(n int) (names []string) {
		for range n {
			names = append(names, "x")
		}
		return names
	}
	for _, begins := range []string{"none", "2", "1h", "latest", "snapshot", "id"} {
		for name, c := range map[string]struct {
			channels []string
			// events published before the reader comes, while it is connected, and while it is disconnected
			before, live, away []string
			drain              bool
		}{
			"nothing":             {channels: []string{"a"}},
			"an empty channel":    {channels: []string{"a"}, away: []string{"e", "x", "e", "e"}},
			"a quiet one":         {channels: []string{"a"}, before: []string{"e", "x", "e"}, away: []string{"e", "x", "e", "e"}},
			"some":                {channels: []string{"a"}, before: []string{"e", "e", "x", "e"}, live: []string{"x", "e", "e", "x"}, away: []string{"x", "e"}},
			"all filtered":        {channels: []string{"a"}, before: filtered(4), live: filtered(idsMissed + 20), away: []string{"x", "e"}},
			"filtered and quiet":  {channels: []string{"a", "b"}, before: []string{"e"}, live: filtered(idsMissed + 3), away: []string{"x", "e"}},
			"one of three":        {channels: []string{"a", "b", "c"}, before: []string{"e", "x", "e"}, live: []string{"e", "x", "e", "x"}, away: []string{"e", "e"}},
			"too much":            {channels: []string{"a", "b"}, before: []string{"e", "e"}, live: []string{"e"}, away: append(filtered(idsMissed), "e")},
			"drain":               {channels: []string{"a"}, before: []string{"e"}, live: []string{"x", "e", "x", "x"}, away: []string{"e"}, drain: true},
			"drain, all filtered": {channels: []string{"a", "b"}, live: filtered(idsMissed + 9), away: []string{"e"}, drain: true},
		} {
			t.Run(begins+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newIDWorld(t, begins, c.channels...)
				quiet := c.channels[len(c.channels)-1]
				w.say(quiet, "e")
				if name == "an empty channel" {
					w.channels, w.query = []string{"empty"}, strings.Replace(w.query, "channel=a", "channel=empty", 1)
				}
				busy := w.channels[0]
				w.say("elsewhere", "e")
				from := ""
				if begins == "id" {
					l := w.listen(w.t, w.query, "")
					w.arrives(l, "")
					from = l.last
					l.stop()
				}
				w.say(busy, c.before...)
				there := w.rig
				if c.drain {
					there = w.another()
				}
				l := there.listen(t, w.query, from)
				w.arrives(l, from)
				for _, name := range c.live {
					w.say(busy, name)
					there.settled(busy, w.all[busy][len(w.all[busy])-1])
				}
				if c.drain {
					there.hub.Drain(t.Context(), time.Millisecond)
					l.rest()
				} else {
					there.clock.Add(int64(6 * time.Second))
					there.hub.sweep(there.hub.opt.Now())
					l.until("what was published", func() bool { return caughtUp(w, l) })
					l.stop()
				}
				l.neverBack(w.channels, from)
				if last := places(t, l.last, w.channels)[0]; len(w.all[busy]) > 0 && last.Serial < w.all[busy][len(w.all[busy])-1] {
					t.Errorf("at the end the id says %+v, and the newest is %d: %+v", last, w.all[busy][len(w.all[busy])-1], l.got)
				}
				w.say(busy, c.away...)
				for k := range len(l.got) + 1 {
					w.comesBack(l.got[:k], from)
				}
			})
		}
	}
}

// caughtUp reports whether the last id names the newest event of each channel.
func caughtUp(w *idWorld, l *listener) bool {
	for i, at := range places(w.t, l.last, w.channels) {
		if all := w.all[w.channels[i]]; len(all) > 0 && at.Serial < all[len(all)-1] {
			return false
		}
	}
	return true
}

// underWay is the state of publishing while readers come and go.
type underWay struct {
	gateways []*rig
	done     chan struct{} // closed when everything is published

	mu  sync.Mutex
	log map[string][]uint64 // the offsets that pass the readers' filter
}

// publish publishes at random, with heartbeats in between.
func (u *underWay) publish(t *testing.T, random *rand.Rand) {
	defer close(u.done)
	for i := range 600 {
		ch, name := []string{"a", "b", "c"}[random.IntN(3)], "x"
		if random.IntN(3) == 0 {
			name = "e"
		}
		ev := &broker.Event{Name: name, Data: []byte(fmt.Sprint(i)), Origin: broker.OriginHTTP}
		at, err := u.gateways[0].log.Publish(context.Background(), "app", broker.Outgoing{Channel: ch, Event: ev})
		if err != nil {
			t.Error(err)
			return
		}
		if name == "e" {
			u.mu.Lock()
			u.log[ch] = append(u.log[ch], at[0].Offset)
			u.mu.Unlock()
		}
		if random.IntN(8) == 0 {
			for _, g := range u.gateways {
				g.clock.Add(int64(6 * time.Second))
				g.hub.sweep(g.hub.opt.Now())
			}
		}
	}
}

// whole reports whether publishing has ended and a reader has all events.
func (u *underWay) whole(got map[string][]uint64, more []block) bool {
	select {
	case <-u.done:
	default:
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for ch := range got {
		if len(got[ch])+len(serials(more, ch)) < len(u.log[ch]) {
			return false
		}
	}
	return true
}

// read reads channels, and disconnects and reconnects at random. It calls ready once it is live.
func (u *underWay) read(t *testing.T, channels []string, random *rand.Rand, ready func()) {
	defer ready()
	query := "channel=" + strings.Join(channels, "&channel=") + "&filter=" + url.QueryEscape(`{"events":["e"]}`)
	l := u.gateways[0].listen(t, query, "")
	l.until("it is live", func() bool { return l.count("subscribed", "") == len(channels) })
	ready()
	got := map[string][]uint64{}
	for _, ch := range channels {
		got[ch] = nil
	}
	took := func(before string) {
		l.stop()
		l.neverBack(channels, before)
		if n := l.count("gap", ""); n > 0 {
			t.Errorf("%d gaps", n)
		}
		for _, ch := range channels {
			got[ch] = append(got[ch], serials(l.got, ch)...)
		}
	}
	before := ""
	for ; !u.whole(got, l.got); l.until("it is back", func() bool { return l.count("resumed", "") == 1 }) {
		most := len(l.got) + random.IntN(12)
		l.wakes = u.done
		l.until("a few blocks", func() bool {
			select {
			case <-u.done: // No further block needs to come.
				return true
			default:
				return len(l.got) >= most
			}
		})
		took(before)
		before = l.last
		l = u.gateways[random.IntN(2)].listen(t, query, before)
	}
	took(before)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, ch := range channels {
		if diff := cmp.Diff(u.log[ch], got[ch]); diff != "" {
			t.Errorf("%v: %s (-published +read):\n%s", channels, ch, diff)
		}
	}
}

// TestTime15IdsUnderWay has readers of one and of several channels with a filter lose their connections
// anywhere, and reconnect to either of two gateways, amid publications and heartbeats.
func TestTime15IdsUnderWay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	one := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		a.Recovery.MaxEvents, o.Filters = 100_000, true
		o.ActivityTimeout = 10 * time.Second
	})
	u := &underWay{gateways: []*rig{one, one.another()}, done: make(chan struct{}), log: map[string][]uint64{}}
	var live, all sync.WaitGroup
	for i, channels := range [][]string{{"a"}, {"a", "b", "c"}, {"c", "b"}} {
		live.Add(1)
		all.Go(func() { u.read(t, channels, rand.New(rand.NewPCG(seed, uint64(i))), sync.OnceFunc(live.Done)) })
	}
	live.Wait()
	u.publish(t, rand.New(rand.NewPCG(seed, 99)))
	all.Wait()
}
