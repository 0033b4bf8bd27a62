package streams

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
)

// simulated is what a log has of a channel, and messages of it.
type simulated struct {
	strand
	offsets []uint64
}

// read is what the log answers.
func (s *simulated) read(from uint64, n int) (out []stored) {
	for _, o := range s.offsets {
		if o >= from && len(out) < n {
			out = append(out, stored{place: place{offset: o}, data: make([]byte, o%7*100)})
		}
	}
	return out
}

func (s *simulated) known() (r broker.Retained) {
	if n := len(s.offsets); n > 0 {
		r.Oldest, r.Newest, r.Messages = s.offsets[0], s.offsets[n-1], uint64(n)
	}
	return r
}

func (s *simulated) between(from, to uint64) (out []uint64) {
	for _, o := range s.offsets {
		if o >= from && o <= to {
			out = append(out, o)
		}
	}
	return out
}

func places(messages []stored) (out []uint64) {
	for _, m := range messages {
		out = append(out, m.offset)
	}
	return out
}

// Whatever is published, removed from the beginning and read by others, what is given of what was read before is
// what the log has, and no answer to where it ends.
func TestTime05WhatWasReadBeforeIsWhatTheLogHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		a := &ahead{now: func() time.Time { return now }}
		logs := []*simulated{{strand: strand{"a", "x", "1"}}, {strand: strand{"a", "y", "1"}}, {strand: strand{"b", "x", "1"}}}
		next := uint64(0)
		given := 0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			s := rapid.SampledFrom(logs).Draw(t, "strand")
			from := rapid.Uint64Range(1, next+3).Draw(t, "from")
			n := rapid.IntRange(1, 30).Draw(t, "n")
			switch rapid.SampledFrom([]string{"publish", "remove", "wait", "purge", "life", "read", "read", "onward", "onward", "back", "back"}).Draw(t, "what") {
			case "publish":
				for range n {
					next += rapid.Uint64Range(1, 3).Draw(t, "step")
					s.offsets = append(s.offsets, next)
				}
			case "remove":
				s.offsets = s.offsets[min(n, len(s.offsets)):]
			case "purge":
				ticket, _ := a.begin(s.strand, 0)
				before := s.read(from, n)
				s.offsets = nil
				a.forget(s.subject)
				a.keep(s.strand, from, before, ticket)
				if slices.ContainsFunc(a.runs, func(r *run) bool { return r.subject == s.subject }) {
					t.Fatalf("%s is remembered", s.subject)
				}
			case "life":
				s.epoch += "'"
				s.offsets = nil
			case "wait":
				now = now.Add(time.Duration(n) * aheadLife / 20)
			case "read":
				if ticket, ok := a.begin(s.strand, n*messageBytes); ok {
					a.keep(s.strand, from, s.read(from, n), ticket)
				}
			case "onward":
				got, _ := a.onward(s.strand, from, n, s.known())
				rest := s.between(from, next)
				if len(got) == 0 {
					continue
				}
				given += len(got)
				if len(got) > n || len(rest) <= len(got) || !slices.Equal(places(got), rest[:len(got)]) {
					t.Fatalf("%d from %d on: %v of %v", n, from, places(got), rest)
				}
				if got[len(got)-1].pending == 0 {
					t.Fatalf("%d from %d on: nothing is pending", n, from)
				}
			case "back":
				to := rapid.Uint64Range(from, next+3).Draw(t, "to")
				got, reach, _, ok := a.back(s.strand, from, to, n, s.known())
				if !ok {
					continue
				}
				given += len(got)
				if len(got) > n || !slices.Equal(places(got), s.between(reach, to)) {
					t.Fatalf("%d from %d to %d: %v down to %d, there are %v", n, from, to, places(got), reach, s.between(from, to))
				}
			}
		}
		if uint64(given) != a.given {
			t.Fatalf("%d were given, and %d counted", given, a.given)
		}
	})
}

// readAhead reads a run of so many messages from an offset on.
func readAhead(a *ahead, l strand, from uint64, messages, size int) bool {
	out := make([]stored, messages)
	for i := range out {
		out[i] = stored{place: place{offset: from + uint64(i)}, data: make([]byte, size)}
	}
	ticket, ok := a.begin(l, messages*(size+messageBytes))
	if ok {
		a.keep(l, from, out, ticket)
	}
	return ok
}

// One app has half of the memory, and nobody's run is forgotten for another one before it was given out or is
// too old.
func TestTime05WhatWasReadAheadIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &ahead{now: func() time.Time { return now }}
	const messages, size = 400, 1 << 10
	each := messages * (size + messageBytes)
	everything := broker.Retained{Newest: maxOffset, Oldest: 1, Messages: 1}
	fill := func(app string) (n int) {
		for readAhead(a, strand{app, fmt.Sprint(app, n), "1"}, 1, messages, size) {
			n++
		}
		return n
	}
	if n := fill("a"); n != aheadBytes/2/each {
		t.Errorf("an app has %d runs, want %d", n, aheadBytes/2/each)
	}
	fill("b")
	if fill("c") > 0 {
		t.Error("there is more than may be")
	}
	if all, _ := a.sizes(""); all > aheadBytes || all < aheadBytes*9/10 {
		t.Errorf("all have %d bytes", all)
	}
	first, second := strand{"a", "a0", "1"}, strand{"a", "a1", "1"}
	if got, _ := a.onward(first, 1, messages-1, everything); len(got) != messages-1 {
		t.Errorf("%d messages of the first run", len(got))
	}
	if got, _ := a.onward(second, 1, messages/2, everything); len(got) != messages/2 {
		t.Errorf("%d messages of the second run", len(got))
	}
	if !readAhead(a, strand{"a", "another", "1"}, 1, messages, size) {
		t.Error("a run of which the end was given out makes no room")
	}
	if got, _ := a.onward(first, 1, 1, everything); len(got) > 0 {
		t.Error("the run of which the end was given out is there")
	}
	if got, _ := a.onward(second, 1, 1, everything); len(got) != 1 {
		t.Error("the run of which half was given out has gone")
	}
	now = now.Add(aheadLife)
	if got, _ := a.onward(second, 1, 1, everything); len(got) > 0 {
		t.Error("what is too old is given")
	}
	if a.sweep(); len(a.runs) > 0 {
		t.Errorf("%d runs are too old", len(a.runs))
	}
	for n := range 2 * aheadRuns {
		readAhead(a, strand{"a", fmt.Sprint(n), "1"}, 1, 2, 0)
	}
	if len(a.runs) != aheadRuns {
		t.Errorf("%d runs, want %d", len(a.runs), aheadRuns)
	}
	a.forget("")
	if readAhead(a, first, 1, 5*runBytes/messageBytes, 0); len(a.runs) > 0 {
		t.Error("a run is kept that is larger than one may be")
	}
}

// What lies beyond the newest message is of a log that lost its tail, what lies below the oldest one has been
// removed, and another life is another log.
func TestTime05WhatWasReadAheadIsOfThisLog(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &ahead{now: func() time.Time { return now }}
	l := strand{"a", "x", "1"}
	readAhead(a, l, 11, 10, 0)
	for _, c := range []struct {
		what  string
		l     strand
		known broker.Retained
		want  int
	}{
		{"all of it", l, broker.Retained{Oldest: 1, Newest: 30}, 5},
		{"up to the newest", l, broker.Retained{Oldest: 1, Newest: 20}, 5},
		{"beyond the newest", l, broker.Retained{Oldest: 1, Newest: 19}, 0},
		{"the oldest are gone", l, broker.Retained{Oldest: 14, Newest: 30}, 5},
		{"nearly all are gone", l, broker.Retained{Oldest: 19, Newest: 30}, 1},
		{"all but the last are gone", l, broker.Retained{Oldest: 20, Newest: 30}, 0},
		{"all are gone", l, broker.Retained{Oldest: 21, Newest: 30}, 0},
		{"another life", strand{"a", "x", "2"}, broker.Retained{Oldest: 1, Newest: 30}, 0},
		{"another channel", strand{"a", "y", "1"}, broker.Retained{Oldest: 1, Newest: 30}, 0},
	} {
		got, _ := a.onward(c.l, 11, 5, c.known)
		if len(got) != c.want || len(got) > 0 && got[0].offset < c.known.Oldest {
			t.Errorf("%s: onward %v, want %d", c.what, places(got), c.want)
		}
		for _, m := range got {
			if m.offset < c.known.Oldest {
				t.Errorf("%s: %d was removed", c.what, m.offset)
			}
		}
		back, _, _, _ := a.back(c.l, 1, 20, 10, c.known)
		for _, m := range back {
			if m.offset < c.known.Oldest || c.want == 0 && c.known.Oldest != 20 {
				t.Errorf("%s: back %v", c.what, places(back))
			}
		}
	}
}

// TestWhatWasReadAheadIsForgotten: nobody reads any more, and there is no app, but memory is given back.
func TestWhatWasReadAheadIsForgotten(t *testing.T) {
	opt := options(node(t, t.TempDir()))
	opt.Apps = nil
	l := open(t, opt)
	l.ahead.mu.Lock()
	l.ahead.runs = append(l.ahead.runs, &run{read: time.Now().Add(-aheadLife), messages: make([]stored, 1), bytes: 1})
	l.ahead.mu.Unlock()
	awaitTrue(t, "it is forgotten", func() bool { return l.Ahead().Bytes == 0 })
}
