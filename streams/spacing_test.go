package streams

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// TestTime04AFirstGuessFindsAsManyAsAreWanted: where the events of a channel lie as far apart as expected,
// one read returns all wanted events and not too many; also where they lie a quarter closer, or a third
// further apart.
func TestTime04AFirstGuessFindsAsManyAsAreWanted(t *testing.T) {
	for _, a := range []apart{1, 1.5, 10, 150, 1000} {
		for _, n := range []int{4, 16, 32} {
			most := max(n+n/2+16, pageSize)
			back := float64(a.back(n, most))
			for _, off := range []float64{1, .75, 1.35} {
				have := back / (float64(a) * off)
				if have > float64(most) || have < float64(n) {
					t.Errorf("%v apart, %d wanted, %d at most: %.1f are found where they are %v apart", a, n, most, have, float64(a)*off)
				}
			}
		}
	}
	if got := apart(1e9).back(16, 50); got != farBack {
		t.Errorf("it looks %d back", got)
	}
	if got := apart(0).back(16, 50); got != 16*nearby {
		t.Errorf("without knowledge it looks %d back", got)
	}
}

// TestTime04WhatIsExpectedMovesTowardsWhatIsFound: the expected distance moves towards the distance that
// reads find.
func TestTime04WhatIsExpectedMovesTowardsWhatIsFound(t *testing.T) {
	for _, c := range []struct {
		name              string
		has, found, wants apart
	}{
		{"nothing was known", 0, 50, 50},
		{"nothing was found", 50, 0, 50},
		{"the same", 50, 50, 50},
		{"a little more", 50, 60, 52.5},
		{"a little less", 50, 40, 47.5},
		{"far more", 50, 500, 500},
		{"far less", 50, 2, 2},
		{"what no guess reaches", 50, 1e6, 50},
		{"what no guess reaches, and nothing was known", 0, 1e6, 0},
	} {
		if got := c.has.next(c.found, 16, 50); got != c.wants {
			t.Errorf("%s: %v after %v and %v, want %v", c.name, got, c.has, c.found, c.wants)
		}
	}
}

// TestTime04OneGoesAhead: while the distance is unknown one reader reads, and the others wait for its result.
// A reader that is slow, or finds nothing, delays the others only for a short time.
func TestTime04OneGoesAhead(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		found apart
		waits time.Duration
		want  apart
	}{
		{"it is found", time.Millisecond, 7, time.Millisecond, 7},
		{"nothing is found", time.Millisecond, 0, time.Millisecond, 0},
		{"it takes too long", time.Hour, 7, spacingPatience, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s spacing
				var asking sync.WaitGroup
				began := time.Now()
				asking.Go(func() {
					_, lead, err := s.ask(t.Context())
					if lead == nil || err != nil {
						t.Error("the first one does not go ahead", err)
						return
					}
					defer s.over(lead)
					time.Sleep(c.takes)
					if c.found > 0 {
						s.saw(c.found, 16, 50)
					}
				})
				synctest.Wait()
				var waiting sync.WaitGroup
				for range 20 {
					waiting.Go(func() {
						got, lead, err := s.ask(t.Context())
						if got != c.want || lead != nil || err != nil || time.Since(began) != c.waits {
							t.Errorf("after %v: %v, goes ahead: %v, %v; want %v after %v", time.Since(began), got, lead != nil, err, c.want, c.waits)
						}
					})
				}
				waiting.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if _, lead, err := s.ask(ctx); lead != nil || err != nil && c.takes < time.Hour {
					t.Error("one of whom nobody is ahead:", err)
				}
				asking.Wait()
				time.Sleep(spacingAge)
				if _, lead, _ := s.ask(t.Context()); lead == nil {
					t.Error("nobody goes ahead when it may have changed")
				}
			})
		})
	}
}

// crowd is a log of channels with different shares of the events.
type crowd struct {
	log      *Log
	names    []string
	mine     map[string][]uint64
	readings atomic.Int64
	flush    func()
}

// newCrowd returns a crowd in which every every[i]-th event belongs to channel i. If every[i] is less than 1,
// the channel has -every[i] events in all.
func newCrowd(t *testing.T, rnd *rand.Rand, events int, every []int) *crowd {
	t.Helper()
	s := node(t, t.TempDir())
	opt := options(s)
	opt.Apps = []AppOptions{{ID: "a", Secrets: []Secret{"secret"}, MaxMessages: 1_000_000, MaxBytes: -1}}
	c := &crowd{log: open(t, opt), mine: map[string][]uint64{}}
	var order []string
	for i, n := range every {
		name := fmt.Sprint("c", i)
		c.names = append(c.names, name)
		if n > 0 {
			n = events / n
		}
		order = append(order, slices.Repeat([]string{name}, max(n, -n))...)
	}
	order = append(order, slices.Repeat([]string{"others"}, max(events-len(order), 0))...)
	rnd.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	for part := range slices.Chunk(order, 500) {
		var out []broker.Outgoing
		for _, name := range part {
			out = append(out, broker.Outgoing{Channel: name, Event: &broker.Event{Name: "e", Data: []byte("x")}})
		}
		got, err := c.log.Publish(t.Context(), "a", out...)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range part {
			c.mine[name] = append(c.mine[name], got[i].Offset)
		}
	}
	for _, all := range c.mine {
		slices.Sort(all)
	}
	conn, err := nats.Connect("", s.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for _, subject := range []string{"$JS.API.DIRECT.GET." + StreamOf("a"), "$JS.API.DIRECT.GET." + StreamOf("a") + ".>", "$JS.API.STREAM.MSG.GET." + StreamOf("a")} {
		if _, err := conn.Subscribe(subject, func(m *nats.Msg) {
			if !ofOverlooked(m) {
				c.readings.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	// The server has got each request that it answered, and delivers it here before it answers the flush. The
	// library then calls in turn.
	c.flush = func() {
		heard := make(chan struct{})
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := conn.Barrier(func() { close(heard) }); err != nil {
			t.Fatal(err)
		}
		<-heard
	}
	c.flush()
	return c
}

// attach attaches all channels at once, reads the last events of each, and compares these with the published
// ones. It returns the number of reads of the log per channel.
func (c *crowd) attach(t *testing.T, limit int) float64 {
	t.Helper()
	c.flush()
	before := c.readings.Load()
	var attaching sync.WaitGroup
	for _, name := range c.names {
		attaching.Go(func() {
			all := c.mine[name]
			a, err := c.log.Attach(t.Context(), "a", name, &sink{})
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Detach()
			empty, _ := a.(broker.Emptiness)
			if len(all) == 0 {
				if !empty.Empty() {
					t.Errorf("%s has nothing, and is not said to", name)
				}
				return
			}
			if at := a.Position().Offset; at != all[len(all)-1] || empty.Empty() {
				t.Errorf("%s is attached at %d, empty: %v; want %d", name, at, empty.Empty(), all[len(all)-1])
			}
			page, err := c.log.Read(t.Context(), "a", name, broker.Query{NewestFirst: true, To: a.Position().Offset, Limit: limit, Bare: true})
			if err != nil {
				t.Error(err)
				return
			}
			want := slices.Clone(all[max(0, len(all)-limit):])
			slices.Reverse(want)
			if got := offsetsOf(page); !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", name, got, want)
			}
		})
	}
	attaching.Wait()
	c.flush()
	return float64(c.readings.Load()-before) / float64(len(c.names))
}

// TestTime04ManyAttachWithFewReadings: whatever share of the stream the channels have, fifty channels that
// are attached at once are read at most twice each, for the end and for the events before it; a little more
// where their shares differ.
func TestTime04ManyAttachWithFewReadings(t *testing.T) {
	alike := func(every int) []int { return slices.Repeat([]int{every}, 50) }
	mixed := slices.Concat(slices.Repeat([]int{10}, 3), slices.Repeat([]int{150}, 27), slices.Repeat([]int{500}, 10), slices.Repeat([]int{-7}, 7), slices.Repeat([]int{0}, 3))
	for _, c := range []struct {
		name   string
		events int
		every  []int
		most   float64
	}{
		{"every message", 2500, alike(50), 2.2},
		{"each 100th", 5000, alike(100), 2.2},
		{"each 150th", 5000, alike(150), 2.2},
		{"each 500th", 9000, alike(500), 2.2},
		{"seven each", 5000, alike(-7), 4.2},
		{"nothing", 100, alike(0), 2.2},
		{"some often, some seldom, some hardly", 6000, mixed, 4.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			const seed = 15
			t.Log("seed ", seed)
			crowd := newCrowd(t, rand.New(rand.NewPCG(seed, 1)), c.events, c.every)
			for _, limit := range []int{16, 1, 32} {
				got := crowd.attach(t, limit)
				t.Logf("%.2f readings for each, %d events", got, limit)
				if got > c.most {
					t.Errorf("%.2f readings for each of %d channels, want %v at most", got, len(c.every), c.most)
				}
			}
		})
	}
}
