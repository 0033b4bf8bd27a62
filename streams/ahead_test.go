package streams

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
)

// simulated is the log of one channel: the offsets of its messages in order, and when each of them was
// stored.
type simulated struct {
	strand
	offsets []uint64
	stored  map[uint64]time.Time
	lost    time.Time
}

var someData = make([]byte, 1<<10)

// made returns a message of a given size, as it is kept in memory.
func made(offset uint64, size int) stored {
	p := &broker.Publication{Event: broker.Event{Data: someData[:size]}, Position: broker.Position{Offset: offset}}
	return stored{place: place{offset: offset}, pub: p, bytes: size}
}

// read returns up to n messages from an offset on, as the log would.
func (s *simulated) read(from uint64, n int) (out []stored) {
	for _, o := range s.offsets {
		if o >= from && len(out) < n {
			m := made(o, int(o%7*100))
			m.pub.Time = s.stored[o]
			out = append(out, m)
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

// believes checks claims against the log, as a reader does, and refutes a wrong one.
func (s *simulated) believes(a *ahead, claims []claim) bool {
	for _, c := range claims {
		if !slices.Contains(s.offsets, c.offset) || !s.stored[c.offset].Equal(c.time) {
			a.refute(c.strand)
			return false
		}
	}
	return true
}

func places(messages []stored) (out []uint64) {
	for _, m := range messages {
		out = append(out, m.offset)
	}
	return out
}

// same reports whether messages are those that the log has at their offsets. That is not promised for a
// moment after the log has lost messages and stored others.
func (s *simulated) same(messages []stored, now time.Time) bool {
	return now.Sub(s.lost) < aheadProof || !slices.ContainsFunc(messages, func(m stored) bool { return !s.stored[m.offset].Equal(m.time) })
}

// TestTime05WhatWasReadBeforeIsWhatTheLogHas: whatever is published, removed from the beginning, lost and
// read by other readers, the messages returned from memory are those of the log, and memory never answers
// where the log ends.
func TestTime05WhatWasReadBeforeIsWhatTheLogHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		a := &ahead{room: aheadBytes, now: func() time.Time { return now }}
		logs := []*simulated{{strand: strand{"a", "x", "1"}}, {strand: strand{"a", "y", "1"}}, {strand: strand{"b", "x", "1"}}}
		next, given, stamp := uint64(0), 0, now
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			s := rapid.SampledFrom(logs).Draw(t, "strand")
			from := rapid.Uint64Range(1, next+3).Draw(t, "from")
			n := rapid.IntRange(1, 30).Draw(t, "n")
			switch rapid.SampledFrom([]string{"publish", "remove", "lose", "wait", "purge", "life", "read", "read", "read", "onward", "onward", "back", "back"}).Draw(t, "what") {
			case "publish":
				for range n {
					next += rapid.Uint64Range(1, 3).Draw(t, "step")
					s.offsets = append(s.offsets, next)
					if stamp = stamp.Add(1); s.stored == nil {
						s.stored = map[uint64]time.Time{}
					}
					s.stored[next] = stamp
				}
			case "remove":
				s.offsets = s.offsets[min(n, len(s.offsets)):]
			case "lose": // the tail of the log, of all channels
				next -= min(next, uint64(n))
				for _, o := range logs {
					o.offsets, o.lost = o.between(1, next), now
				}
			case "purge":
				ticket, _ := a.begin(s.strand, 0)
				before := s.read(from, n)
				s.offsets = nil
				a.forget(s.subject)
				a.keep(s.strand, from, before, ticket)
				if len(a.lines[s.strand]) > 0 {
					t.Fatalf("%s is remembered", s.subject)
				}
			case "life":
				s.epoch += "'"
				s.offsets = nil
			case "wait":
				now = now.Add(time.Duration(n) * aheadProof / 10)
			case "read":
				if ticket, ok := a.begin(s.strand, n*messageBytes); ok {
					a.keep(s.strand, from, s.read(from, n), ticket)
				}
			case "onward":
				f, _ := a.onward(s.strand, from, n, s.known())
				got, rest := f.messages, s.between(from, next)
				given += len(got)
				if len(got) == 0 || !s.believes(a, f.claims) || now.Sub(s.lost) < aheadProof {
					continue
				}
				if len(got) > n || len(rest) <= len(got) || !slices.Equal(places(got), rest[:len(got)]) || !s.same(got, now) {
					t.Fatalf("%d from %d on: %v of %v", n, from, places(got), rest)
				}
				if got[len(got)-1].pending == 0 {
					t.Fatalf("%d from %d on: nothing is pending", n, from)
				}
			case "back":
				to := rapid.Uint64Range(from, next+3).Draw(t, "to")
				f, ok := a.back(s.strand, from, to, n, s.known())
				given += len(f.messages)
				if !ok || !s.believes(a, f.claims) || now.Sub(s.lost) < aheadProof {
					continue
				}
				if got := f.messages; len(got) > n || !slices.Equal(places(got), s.between(f.reach, to)) || !s.same(got, now) {
					t.Fatalf("%d from %d to %d: %v down to %d, there are %v", n, from, to, places(got), f.reach, s.between(from, to))
				}
			}
			for l, own := range a.lines {
				for i, r := range own {
					if r.strand != l || r.from > r.last() || r.messages[0].pub.Offset < r.from || i > 0 && own[i-1].last() >= r.from {
						t.Fatalf("run %d of %v", i, own)
					}
				}
			}
		}
		if uint64(given) != a.given {
			t.Fatalf("%d were given, and %d counted", given, a.given)
		}
	})
}

// readAhead keeps a run of messages from an offset on. It reports whether there was room.
func readAhead(a *ahead, l strand, from uint64, messages, size int) bool {
	out := make([]stored, messages)
	for i := range out {
		out[i] = made(from+uint64(i), size)
	}
	ticket, ok := a.begin(l, messages*(size+messageBytes))
	if ok {
		a.keep(l, from, out, ticket)
	}
	return ok
}

// TestTime05WhatWasReadAheadIsBounded: all runs together have a bound, and so has each app once other apps
// need room. A run is not dropped in favour of an app that has as much, before it was used or lay idle.
func TestTime05WhatWasReadAheadIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &ahead{room: aheadBytes, now: func() time.Time { return now }}
	const messages, size = 400, 1 << 10
	each := messages * (size + messageBytes)
	everything := broker.Retained{Newest: maxOffset, Oldest: 1, Messages: 1}
	fill := func(app string) (n int) {
		for ; a.bytes+each <= aheadBytes || app != "a"; n++ {
			if !readAhead(a, strand{app, fmt.Sprint(app, n), "1"}, 1, messages, size) {
				break
			}
		}
		return n
	}
	if n := fill("a"); n != aheadBytes/each {
		t.Errorf("an app that is alone has %d runs, want %d", n, aheadBytes/each)
	}
	if readAhead(a, strand{"a", "more", "1"}, 1, messages, size) {
		t.Error("there is more than may be, or a run has gone before it was given out")
	}
	if n := fill("b"); a.apps["b"] > aheadBytes/2 || n < aheadBytes/each/2-1 {
		t.Errorf("another app has %d runs", n)
	}
	if n := fill("c"); n > 1 || a.apps["a"] > aheadBytes/2 {
		t.Errorf("%d runs of those who had no more than half have gone", n)
	}
	if a.bytes > aheadBytes || a.bytes < aheadBytes*9/10 {
		t.Errorf("all have %d bytes", a.bytes)
	}
	first, second := strand{"b", "b0", "1"}, strand{"b", "b1", "1"}
	if got, _ := a.onward(first, 1, messages-1, everything); len(got.messages) != messages-1 {
		t.Errorf("%d messages of the first run", len(got.messages))
	}
	if got, _ := a.onward(second, 1, messages/2, everything); len(got.messages) != messages/2 {
		t.Errorf("%d messages of the second run", len(got.messages))
	}
	if !readAhead(a, strand{"b", "another", "1"}, 1, messages, size) {
		t.Error("a run of which the end was given out makes no room")
	}
	if got, _ := a.onward(first, 1, 1, everything); len(got.messages) > 0 {
		t.Error("the run of which the end was given out is there")
	}
	if got, _ := a.onward(second, 1, 1, everything); len(got.messages) != 1 {
		t.Error("the run of which half was given out has gone")
	}
	now = now.Add(aheadProof)
	if a.onward(second, 1, 1, everything); fill("c") == 0 {
		t.Error("runs that lie idle make no room")
	}
	if got, _ := a.onward(second, 1, 1, everything); len(got.messages) != 1 {
		t.Error("the run that was used last has gone first")
	}
	now = now.Add(aheadIdle)
	if a.sweep(); a.number > 0 || len(a.lines) > 0 || a.bytes > 0 {
		t.Errorf("%d runs are kept for nobody", a.number)
	}
	for n := range 2 * aheadRuns {
		readAhead(a, strand{"a", fmt.Sprint(n), "1"}, 1, 2, 0)
	}
	if now = now.Add(aheadProof); a.number != aheadRuns {
		t.Errorf("%d runs, want %d", a.number, aheadRuns)
	}
	if a.sweep(); a.number != aheadRuns {
		t.Errorf("%d runs are left of those that may be there", a.number)
	}
	a.forget("")
	if readAhead(a, first, 1, 5*runBytes/messageBytes, 0); a.number > 0 {
		t.Error("a run is kept that is larger than one may be")
	}
	readAhead(a, first, 1, 10, 0)
	for range aheadLife / aheadProof {
		a.onward(first, 1, 1, everything)
		now = now.Add(aheadProof)
	}
	if got, _ := a.onward(first, 1, 1, everything); len(got.messages) > 0 {
		t.Error("what is too old is given")
	}
}

// TestTime05WhatWasReadAheadIsOfThisLog: runs beyond the newest message belong to a log that lost its tail,
// messages below the oldest one have been removed, and another epoch is another log. Nothing of these is
// returned.
func TestTime05WhatWasReadAheadIsOfThisLog(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &ahead{room: aheadBytes, now: func() time.Time { return now }}
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
		f, _ := a.onward(c.l, 11, 5, c.known)
		got := f.messages
		if len(got) != c.want || len(got) > 0 && got[0].offset < c.known.Oldest {
			t.Errorf("%s: onward %v, want %d", c.what, places(got), c.want)
		}
		for _, m := range got {
			if m.offset < c.known.Oldest {
				t.Errorf("%s: %d was removed", c.what, m.offset)
			}
		}
		back, _ := a.back(c.l, 1, 20, 10, c.known)
		for _, m := range back.messages {
			if m.offset < c.known.Oldest || c.want == 0 && c.known.Oldest != 20 {
				t.Errorf("%s: back %v", c.what, places(back.messages))
			}
		}
	}
}

// TestWhatWasReadAheadIsForgotten: idle runs are dropped and their memory freed, even if nothing is read any
// more and there is no app.
func TestWhatWasReadAheadIsForgotten(t *testing.T) {
	opt := options(node(t, t.TempDir()))
	opt.Apps = nil
	l := open(t, opt)
	ticket, _ := l.ahead.begin(strand{}, 1)
	ticket.at = time.Now().Add(-aheadIdle)
	l.ahead.keep(strand{}, 1, []stored{made(1, 1)}, ticket)
	awaitTrue(t, "it is forgotten", func() bool { return l.Ahead().Bytes == 0 })
}
