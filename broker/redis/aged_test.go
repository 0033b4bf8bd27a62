package redis

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

// forgetPlace removes a channel's keys, as their expiry does if nothing is published.
func forgetPlace(server *redisserver.Server, k channelKeys) {
	server.Do("DEL " + k.meta + " " + k.stream)
}

// TestAgedAcknowledgementIsNoLoss: before, the whole app began a new epoch when the keys of a channel with a
// single, old event had expired, although no event was lost.
func TestAgedAcknowledgementIsNoLoss(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		old, anew bool
	}{
		{"a place that aged", true, false},
		{"made anew by another gateway since", true, true},
		{"a loss", false, false},
		{"a loss, and made anew", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			l := open(t, server.URL(), false, silent)
			other := attachTo(t, l, "other")
			epoch := l.apps.Of("app-1").currentEpoch()
			offset := publishOne(t, l, "aged", "x")
			if c.old {
				l.recent.mu.Lock()
				l.recent.positions[place{"app-1", "aged"}] = noted{offset, time.Now().Add(-time.Hour)}
				l.recent.mu.Unlock()
			}
			forgetPlace(server, l.keys.channel("app-1", "aged"))
			if c.anew {
				publishOne(t, open(t, server.URL(), false), "aged", "y")
			}
			l.verify()
			_, gaps := other.seen()
			if now := l.apps.Of("app-1").currentEpoch(); c.old && (now != epoch || len(gaps) > 0) {
				t.Errorf("a new epoch began, gaps of another channel: %+v", gaps)
			} else if !c.old && now == epoch {
				t.Error("the loss was not noticed")
			}
		})
	}
}

// TestAgedPlaceOfAFollower: a gateway that did not check a channel for longer than its keys live does not
// know what was stored meanwhile. Only this channel gets a gap.
func TestAgedPlaceOfAFollower(t *testing.T) {
	t.Parallel()
	for name, anew := range map[string]bool{"gone": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			l := open(t, server.URL(), false, silent)
			w, other := attachTo(t, l, "c"), attachTo(t, l, "other")
			epoch := l.apps.Of("app-1").currentEpoch()
			publishOne(t, l, "c", "x")
			until(t, "it is delivered", func() bool { p, _ := w.seen(); return len(p) == 1 })
			for _, f := range l.follow.Of("app-1") {
				f.Lock()
				f.Line().(*follower).kept = time.Now().Add(-2 * time.Hour)
				f.Unlock()
			}
			l.recent.forget("app-1")
			forgetPlace(server, l.keys.channel("app-1", "c"))
			if anew {
				publishOne(t, open(t, server.URL(), false), "c", "y")
			} else {
				l.compare(follow.Everyone)
			}
			until(t, "a gap", func() bool { _, g := w.seen(); return len(g) == 1 })
			publishOne(t, l, "c", "z")
			until(t, "it goes on", func() bool { p, _ := w.seen(); return len(p) > 1 && string(p[len(p)-1].Event.Data) == "z" })
			_, gaps := w.seen()
			if len(gaps) != 1 || gaps[0].Reason != broker.GapEvicted || gaps[0].Resume.Epoch != epoch {
				t.Errorf("gaps %+v, want one of what was evicted, in the epoch %s", gaps, epoch)
			}
			if _, gaps := other.seen(); len(gaps) > 0 {
				t.Errorf("gaps of another channel: %+v", gaps)
			}
		})
	}
}

// TestAuditsComeByWithinALife: before, with 92,000 channels of an app the keys of a channel could expire
// between two audits of it.
func TestAuditsComeByWithinALife(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ followed, looked int }{{10, 10}, {1000, follow.AuditBatch}, {100_000, 1000}} {
		all := make([]*follow.Follower[arrival], c.followed)
		for i := range all {
			all[i] = &follow.Follower[arrival]{}
		}
		if n := len(oldest(all)); n != c.looked {
			t.Errorf("of %d channels %d are compared, want %d", c.followed, n, c.looked)
		}
	}
}
