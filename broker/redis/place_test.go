package redis

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestNamesThatNobodyPublishesToTakeNoRoom: a client with the key of an app may subscribe to any name.
// Before, each name took room in Redis for two days.
func TestNamesThatNobodyPublishesToTakeNoRoom(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	before := server.Do("DBSIZE")
	for i := range 50 {
		at, err := l.Attach(t.Context(), "app-1", fmt.Sprint("name ", i), &witness{})
		if err != nil {
			t.Fatal(err)
		}
		at.Detach()
	}
	w := attachTo(t, l, "c")
	l.compare(follow.Everyone)
	if n := server.Do("DBSIZE"); n != before {
		t.Errorf("there are %s keys, want %s as before", n, before)
	}
	// While a channel stays attached it has a position in Redis, so that clients can resume from it.
	k, f := l.keys.channel("app-1", "c"), followerFor(l, "app-1", "c")
	f.Lock()
	f.since = time.Now().Add(-time.Hour)
	f.Unlock()
	l.compare(follow.Everyone)
	life := func() time.Duration {
		ms, _ := strconv.Atoi(server.Do("PTTL " + k.meta)[1:])
		return time.Duration(ms) * time.Millisecond
	}
	if d := life(); d < voidLife/2 || d > voidLife {
		t.Errorf("its place lives for %v, want %v", d, voidLife)
	}
	// A position that no gateway keeps may expire before a client resumes from it.
	on, err := l.Attach(t.Context(), "app-1", "c", &witness{})
	if err != nil {
		t.Fatal(err)
	}
	on.Detach()
	server.Do("DEL " + k.meta)
	l.compare(follow.Everyone)
	if _, err := l.After(t.Context(), "app-1", "c", on.Position(), 10); err != nil {
		t.Errorf("coming back to %d: %v", on.Position().Offset, err)
	}
	publishOne(t, l, "c", "x")
	until(t, "it is delivered", func() bool { p, _ := w.seen(); return len(p) == 1 })
	if d := life(); d < 24*time.Hour {
		t.Errorf("with an event its place lives for %v", d)
	}
	if _, gaps := w.seen(); len(gaps) > 0 || l.Stats().Repairs > 0 {
		t.Errorf("gaps %+v and %d repairs, want none", gaps, l.Stats().Repairs)
	}
}

// TestWhereAChannelWillBegin: a follower of a channel without events misses none of the first events, and
// neither does a client that resumes, also on another gateway.
func TestWhereAChannelWillBegin(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l, other := open(t, server.URL(), false, silent), open(t, server.URL(), false, silent)
	for name, c := range map[string]struct {
		made, deaf bool
		events     int
	}{
		"live": {events: 3}, "read": {deaf: true, events: 3}, "more than is kept": {deaf: true, events: 120},
		"at a place that somebody made": {made: true, events: 3},
	} {
		after := func(pos broker.Position, want int) {
			t.Helper()
			page, err := other.After(t.Context(), "app-1", name, pos, 200)
			if err != nil || len(page.Publications) != want {
				t.Errorf("%s: after %+v: %v, %+v, want %d publications", name, pos, err, page, want)
			}
		}
		w, at := &witness{}, [2]broker.Position{}
		for i, log := range []*Log{l, other} {
			on, err := log.Attach(t.Context(), "app-1", name, w)
			if err != nil || !on.(broker.Emptiness).Empty() {
				t.Fatalf("%s: %v, at %+v", name, err, on)
			}
			if at[i] = on.Position(); i == 1 {
				on.Detach()
			}
			after(at[i], 0)
		}
		f := followerFor(l, "app-1", name)
		if c.deaf {
			l.subs.end(f.sub)
		}
		if c.made {
			if _, err := f.touch(t.Context(), voidGrain); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.events {
			publishOne(t, other, name, fmt.Sprint(i))
		}
		l.compare(follow.Everyone)
		kept, lost := min(c.events, 100), max(c.events-100, 0)
		until(t, name+": all are delivered", func() bool { p, _ := w.seen(); return len(p) == kept })
		_, gaps := w.seen()
		if lost == 0 {
			after(at[0], kept)
			after(at[1], kept)
		} else if _, err := other.After(t.Context(), "app-1", name, at[0], 200); !errors.Is(err, broker.ErrPositionExpired) {
			t.Errorf("%s: coming back: %v, want %v", name, err, broker.ErrPositionExpired)
		}
		if len(gaps) != min(lost, 1) || lost > 0 && gaps[0].Reason != broker.GapEvicted {
			t.Errorf("%s: gaps %+v", name, gaps)
		}
	}
}

// TestWhatLiesBeforeAChannel: the position of an event is not taken for a position before the first event.
func TestWhatLiesBeforeAChannel(t *testing.T) {
	const hour = uint64(time.Hour / time.Microsecond)
	place := 480000 * hour / voidGrain * voidGrain
	for _, c := range []struct {
		name         string
		place, first uint64
		want         bool
	}{
		{"none", 0, place, true},
		{"one where nothing was", place, place + hour/2, true},
		{"that of an event", place + 1, place + hour/2, false},
		{"of so long ago that events of since may have aged", place, place + 3*hour, false},
		{"behind the beginning", place, place - 1, false},
		{"the beginning", place, place, false},
	} {
		if got := before(c.place, c.first, 3*time.Hour); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

// TestAClockThatIsSetBack: an event below the position at which a follower waits for the first event begins a
// new epoch. No event is left out without a gap.
func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	w := attachTo(t, l, "c")
	server.Do("HSET " + l.keys.channel("app-1", "c").meta + " s 1000 b 900 t 0 r " + server.Info("run_id"))
	first := publishOne(t, l, "c", "first")
	until(t, "a gap", func() bool { _, g := w.seen(); return len(g) == 1 })
	if _, gaps := w.seen(); gaps[0].Reason != broker.GapEpoch || gaps[0].Resume.Offset != first || gaps[0].Empty {
		t.Errorf("gap %+v, want a new life behind %d", gaps[0], first)
	}
	publishOne(t, l, "c", "second")
	until(t, "it goes on", func() bool { p, _ := w.seen(); return len(p) == 1 })
}

// TestAfterALossAChannelIsEmpty: before, a subscriber after a loss of everything was told the channel's
// position instead of 0, although the channel had no event.
func TestAfterALossAChannelIsEmpty(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	channels := map[string]*witness{"used": attachTo(t, l, "used"), "void": attachTo(t, l, "void")}
	publishOne(t, l, "used", "x")
	until(t, "it is delivered", func() bool { p, _ := channels["used"].seen(); return len(p) == 1 })
	server.Do("FLUSHALL")
	for name, w := range channels {
		until(t, "a gap in "+name, func() bool { _, g := w.seen(); return len(g) == 1 })
		_, gaps := w.seen()
		if g := gaps[0]; !g.Empty || g.Reason != broker.GapEpoch {
			t.Errorf("%s: gap %+v, want a new life in which the channel is empty", name, g)
		}
		on, err := l.Attach(t.Context(), "app-1", name, &witness{})
		if err != nil || !on.(broker.Emptiness).Empty() {
			t.Errorf("%s: %v, and a later one begins at %+v, which is not empty", name, err, on.Position())
		}
		on.Detach()
		if exists := server.Do("EXISTS " + l.keys.channel("app-1", name).meta); exists != ":0" {
			t.Errorf("%s has a place", name)
		}
		publishOne(t, l, name, "y")
		until(t, "it goes on in "+name, func() bool { p, _ := w.seen(); return len(p) > 0 && string(p[len(p)-1].Data) == "y" })
	}
}
