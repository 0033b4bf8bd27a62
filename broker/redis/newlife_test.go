package redis

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestGapOfANewLifeNamesAPlace: before, a subscriber that was told of a new epoch, and of the position to go
// on from, was refused when it resumed from there, and told of the same loss again.
func TestGapOfANewLifeNamesAPlace(t *testing.T) {
	t.Parallel()
	// Three events are published to the channel c, and lose makes the server lose some. more events are
	// published by another gateway that does not know of the loss.
	for _, c := range []struct {
		name string
		lose func(s *redisserver.Server, k channelKeys, offsets []uint64)
		more int
	}{
		{"everything", func(s *redisserver.Server, k channelKeys, _ []uint64) { s.Do("DEL " + k.stream + " " + k.meta) }, 0},
		{"everything, and more came", func(s *redisserver.Server, k channelKeys, _ []uint64) { s.Do("DEL " + k.stream + " " + k.meta) }, 2},
		{"the last one", loseLast, 0},
		{"the last one, and more came", loseLast, 2},
		{"nothing of this channel", func(s *redisserver.Server, k channelKeys, _ []uint64) {}, 0},
		{"all that it knew of the channel but for the entries", loseMeta, 0},
		{"all that it knew of the channel but for the entries, and more came", loseMeta, 2},
		{"all that is kept", func(s *redisserver.Server, k channelKeys, _ []uint64) { s.Do("DEL " + k.stream) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			l := open(t, server.URL(), false, silent)
			w := attachTo(t, l, "c")
			var offsets []uint64
			for i := range 3 {
				offsets = append(offsets, publishOne(t, l, "c", fmt.Sprint(i)))
			}
			until(t, "all are delivered", func() bool { p, _ := w.seen(); return len(p) == 3 })
			a, before := l.apps.Of("app-1"), l.apps.Of("app-1").currentEpoch()
			l.subs.end(followerFor(l, "app-1", "c").sub) // the channel is read, and gets no live messages
			c.lose(server, l.keys.channel("app-1", "c"), offsets)
			other := open(t, server.URL(), false, silent)
			for i := range c.more {
				publishOne(t, other, "c", fmt.Sprint("more ", i))
			}
			if err := l.lostPart(t.Context(), a, before); err != nil {
				t.Fatal(err)
			}
			until(t, "the gap is told", func() bool { _, gaps := w.seen(); return len(gaps) > 0 })
			until(t, "more is delivered", func() bool { p, _ := w.seen(); return len(p) == 3+c.more })
			life := a.currentEpoch()
			for range 3 {
				l.compare(follow.Everyone)
			}
			until(t, "nothing is looked for", func() bool {
				f := followerFor(l, "app-1", "c")
				f.Lock()
				defer f.Unlock()
				return f.Following() || a.currentEpoch() != life
			})
			if now := a.currentEpoch(); now != life {
				t.Errorf("another life began behind the new one")
			}
			_, gaps := w.seen()
			want := broker.Position{Epoch: before, Offset: offsets[2]}
			if len(gaps) != 1 || gaps[0].Reason != broker.GapEpoch || gaps[0].After != want || gaps[0].Resume.Epoch != a.currentEpoch() {
				t.Fatalf("gaps %+v, want one that begins a new life after %+v", gaps, want)
			}
			page, err := l.After(t.Context(), "app-1", "c", gaps[0].Resume, 10)
			if err != nil || len(page.Publications) != c.more {
				t.Errorf("resuming from %+v: %v, %+v, want %d publications", gaps[0].Resume, err, page, c.more)
			}
		})
	}
}

// loseMeta does what a server does that may evict keys.
func loseMeta(s *redisserver.Server, k channelKeys, _ []uint64) { s.Do("DEL " + k.meta) }

// loseLast does what a failover does that comes before the last event was replicated.
func loseLast(s *redisserver.Server, k channelKeys, offsets []uint64) {
	s.Do(fmt.Sprintf("XDEL %s %d-0", k.stream, offsets[2]))
	s.Do(fmt.Sprintf("HSET %s s %d r another", k.meta, offsets[1]))
	s.Do("HDEL " + k.meta + " u")
}
