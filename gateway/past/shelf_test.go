package past

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/sight"
	"github.com/sluicehq/sluice/gateway/socket"
)

// shelves are pasts of channels of several apps with a common library.
type shelves struct {
	t   *testing.T
	log *memory.Log
	in  *Library
	// pages is the number of pages read, and cramped holds the channels whose snapshots had no room.
	pages   int
	cramped []string
	tasks   sync.WaitGroup
}

const shelfBytes = 1 << 20

func newShelves(t *testing.T, apps ...string) *shelves {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: apps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	s := &shelves{t: t, log: log}
	s.in = &Library{
		Timeout: time.Minute, Log: sight.Log{History: log, Now: time.Now}, Context: t.Context(), Most: shelfBytes,
		Apps: func() int { return len(apps) }, Read: func() { s.pages++ },
		Background: func(f func()) bool { s.tasks.Go(f); return true },
		Failed:     func(_, _ string, err error) { t.Errorf("reading failed: %v", err) },
		Cramped:    func(_, channel string) { s.cramped = append(s.cramped, channel) },
	}
	return s
}

// publish stores an event with a conflation value.
func (s *shelves) publish(of, channel, key string, size int) *broker.Publication {
	s.t.Helper()
	ev := &broker.Event{Name: "e", Data: []byte(strings.Repeat("x", size)), ConflationKey: key, HasKey: true}
	if _, err := s.log.Publish(s.t.Context(), of, broker.Outgoing{Channel: channel, Event: ev}); err != nil {
		s.t.Fatal(err)
	}
	page, err := s.log.Read(s.t.Context(), of, channel, broker.Query{NewestFirst: true, Limit: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Publications[0]
}

// channel returns the past of a channel with so many values.
func (s *shelves) channel(of, name string, values, size int, everybody bool) *channelPast {
	s.t.Helper()
	var last *broker.Publication
	for n := range values {
		last = s.publish(of, name, fmt.Sprint(n), size)
	}
	hall := fanout.NewHall(&fanout.Hall{Sockets: socket.NewGroup(socket.Options{Now: time.Now})}, 1)
	c := &channelPast{line: &fanout.Line{Hall: hall, App: of, Name: name, Shards: make([]fanout.Subscribers, 1)}, last: last, shelves: s}
	a := &app.App{ID: of, Rewind: true, Limits: app.Limits{MaxHistoryPage: 10}}
	if everybody {
		a.Snapshots = []app.SnapshotPattern{{Match: "*", Snapshot: app.Snapshot{On: true}}}
	}
	c.Recent = New(s.in, a, c.line, func() string { return last.Epoch })
	c.line.Past = c.Recent
	c.Begin(last.Epoch, last.Offset)
	return c
}

type channelPast struct {
	*Recent
	line    *fanout.Line
	last    *broker.Publication
	shelves *shelves
}

// live publishes the next event of the channel.
func (c *channelPast) live(key string, size int) {
	c.last = c.shelves.publish(c.app.ID, c.line.Name, key, size)
	c.Add(c.line.NewEvent(c.last))
}

// begins returns a way that begins with a snapshot and has its first publication.
func (c *channelPast) begins() *fanout.Way {
	w := &fanout.Way{Line: c.line, Shard: c.line.Hall.Shards[0], Epoch: c.last.Epoch, Head: c.last.Offset, Latest: true}
	if _, _, ok := c.Next(nil, w, 1); !ok {
		c.shelves.tasks.Wait()
		_, w.Place, _ = c.Next(nil, w, 1)
	}
	return w
}

// rest goes on to the end, or until the way fails, and returns the number of publications.
func (c *channelPast) rest(w *fanout.Way) (n int) {
	for w.Failed.Load() == nil {
		items, reached, ok := c.Next(nil, w, 10)
		if n, w.Place = n+len(items), reached; !ok || w.Ending {
			break
		}
	}
	return n
}

func (s *shelves) within(most int64) {
	s.t.Helper()
	var sum int64
	for r := range s.in.shelf.held {
		sum += int64(r.latest.fold.Bytes())
	}
	if got := s.in.SnapshotBytes(); got != sum || got > most {
		s.t.Fatalf("snapshots are said to hold %d bytes, and hold %d; the bound is %d", got, sum, most)
	}
}

// TestTrust04SnapshotsAreWithinBounds: however many snapshots clients request, all snapshots, those of each
// app, and the reads for them are bounded. Other memory for resumes is not used.
func TestTrust04SnapshotsAreWithinBounds(t *testing.T) {
	for name, everybody := range map[string]bool{"by rewind": false, "by channel_snapshot": true} {
		t.Run(name, func(t *testing.T) {
			s := newShelves(t, "greedy", "quiet")
			var ways []*fanout.Way
			for n := range 10 {
				c := s.channel("greedy", fmt.Sprint("c", n), 30, 10_000, everybody)
				ways = append(ways, c.begins())
				s.within(shelfBytes * 3 / 4)
			}
			if len(s.cramped) < 8 {
				t.Errorf("%d of the snapshots had no room", len(s.cramped))
			}
			if got := s.in.Bytes.Load(); got != 0 {
				t.Errorf("%d bytes count as what is kept for those who come back", got)
			}
			many := s.channel("greedy", "many", 2500, 10, everybody)
			before := s.pages
			ways = append(ways, many.begins())
			if got := s.pages - before; got > 1 {
				t.Errorf("%d pages were read for a snapshot without room", got)
			}
			c := s.channel("quiet", "q", 8, 10_000, everybody)
			if w := c.begins(); c.rest(w) != 7 || c.Partial() {
				t.Error("another app does not get the whole of its snapshot")
			}
			for _, w := range ways {
				w.Line.Past.Leave(w)
			}
		})
	}
}

// TestTrust04IdleSnapshotsGiveWay: a snapshot that no way reads gives its room to another one.
func TestTrust04IdleSnapshotsGiveWay(t *testing.T) {
	s := newShelves(t, "app")
	var first *fanout.Way
	for n := range 6 {
		c := s.channel("app", fmt.Sprint("c", n), 12, 10_000, true)
		w := c.begins()
		if got := c.rest(w); got != 11 || c.Partial() {
			t.Fatalf("channel %d: %d of 11 publications, partial %v", n, got, c.Partial())
		}
		if first == nil {
			first = w // This one stays.
		} else {
			c.Leave(w)
		}
		s.within(shelfBytes)
	}
	if got := first.Line.Past.(*Recent); got.latest.fold == nil {
		t.Error("a snapshot is gone that somebody is on the way through")
	}
	if len(s.cramped) > 0 {
		t.Errorf("%v had no room", s.cramped)
	}
}

// TestTrust04SnapshotsThatGrow: events published without room replace old values, and no way loses an event
// published since its subscription.
func TestTrust04SnapshotsThatGrow(t *testing.T) {
	s := newShelves(t, "app")
	c := s.channel("app", "c", 20, 10_000, true)
	w := c.begins()
	for n := range 10 * shelfBytes / 30_000 {
		c.live(fmt.Sprint("live", n), 10_000)
		s.within(shelfBytes)
		if w.Failed.Load() == nil && c.latest.fold == nil {
			t.Fatal("the snapshot is gone, and whoever is on the way through it was not told")
		}
	}
	if f := w.Failed.Load(); f == nil || !strings.Contains(f.Reason, "no more room") {
		t.Errorf("more came than there is room for, and the way goes on: %+v", f)
	}
	c.Leave(w)
	w = c.begins()
	if n := c.rest(w); n == 0 || !c.Partial() {
		t.Errorf("a newcomer gets %d more publications, partial %v", n, c.Partial())
	}
	c.Leave(w)
	c.live("last", 10_000)
	if c.latest.fold != nil {
		t.Error("a snapshot without room stays that nobody uses")
	}
	s.within(0)
}

// TestTrust04SnapshotsThatNobodyUses: a snapshot that was made on request is dropped when it has not been
// used for a while, and so is one without all values. One that every subscriber gets stays.
func TestTrust04SnapshotsThatNobodyUses(t *testing.T) {
	s := newShelves(t, "app")
	for _, c := range []struct {
		name      string
		everybody bool
		values    int
		stays     bool
	}{{"asked", false, 5, false}, {"everybody", true, 5, true}, {"short", true, 60, false}} {
		r := s.channel("app", c.name, c.values, 10_000, c.everybody)
		w := r.begins()
		r.mu.Lock()
		r.latest.idle = time.Now().Add(-time.Hour)
		r.mu.Unlock()
		if r.Expire(time.Now()); r.latest.fold == nil {
			t.Fatalf("%s: it is gone under somebody", c.name)
		}
		r.Leave(w)
		if r.Expire(time.Now()); r.latest.fold == nil {
			t.Errorf("%s: it is gone at once", c.name)
		}
		r.mu.Lock()
		r.latest.idle = time.Now().Add(-time.Hour)
		r.mu.Unlock()
		if r.Expire(time.Now()); (r.latest.fold != nil) != c.stays {
			t.Errorf("%s: it is there: %v", c.name, r.latest.fold != nil)
		}
	}
}
