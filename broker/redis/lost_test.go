package redis

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/test/redisserver"
)

func publishOne(t *testing.T, l *Log, channel, data string) uint64 {
	t.Helper()
	return mustPublish(t, l, "app-1", plain(channel, data)).Offset
}

// mustPublish publishes, once, an event that can be stored. On a busy machine a log with short attempts may
// get no answer in time; then the publish is repeated with the same id.
func mustPublish(t *testing.T, l *Log, app string, event broker.Outgoing) (r broker.Receipt) {
	t.Helper()
	once := *event.Event
	once.DedupID = rand.Text()
	event.Event = &once
	until(t, "an event is stored", func() bool {
		all, err := l.Publish(t.Context(), app, event)
		if err != nil && !errors.Is(err, broker.ErrUnavailable) {
			t.Fatal(err)
		}
		if err == nil {
			r = all[0]
		}
		return err == nil
	})
	return r
}

// TestPositionInsideWhatWasLost: a server lost two events and stored another one, and no gateway that could
// have noticed is left. Before, a resume from between the two lost events got the new one as if nothing lay
// between, although the log names what comes before it.
func TestPositionInsideWhatWasLost(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false)
	epoch := l.apps.Of("app-1").currentEpoch()
	kept := publishOne(t, l, "c", "kept")
	server.Do("SAVE")
	first, second := publishOne(t, l, "c", "lost"), publishOne(t, l, "c", "lost too")
	_ = l.Close()
	server.Kill()
	server.Restart()
	l = open(t, server.URL(), false)
	publishOne(t, l, "c", "new")
	for _, c := range []struct {
		name   string
		offset uint64
		want   error
	}{
		{"what the server still has", kept, nil},
		{"the first that was lost", first, broker.ErrPositionExpired},
		{"the last that was lost", second, broker.ErrPositionExpired},
	} {
		_, err := l.After(t.Context(), "app-1", "c", broker.Position{Epoch: epoch, Offset: c.offset}, 10)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("coming back after %s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestLossOfWhatWasOnlyAcknowledged: a gateway that follows no channel knows what it acknowledged. Before, it
// did not notice the loss of that when another gateway had published since, nor when it had checked once
// before.
func TestLossOfWhatWasOnlyAcknowledged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		before, behind bool
	}{{"at once", false, false}, {"looked before", true, false}, {"published since", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			server := redisserver.Start(t)
			l := open(t, server.URL(), false, silent)
			attachTo(t, l, "other") // a feed whose end is noticed
			epoch := l.apps.Of("app-1").currentEpoch()
			publishOne(t, l, "c", "kept")
			server.Do("SAVE")
			publishOne(t, l, "c", "lost")
			if c.before {
				scans := l.Stats().Scans
				server.Do("CLIENT KILL TYPE pubsub")
				until(t, "the gateway has looked", func() bool { return l.Stats().Scans > scans })
			}
			server.Kill()
			if c.behind {
				// By another gateway, before this one checks.
				l.subs.mu.Lock()
				server.Restart()
				publishOne(t, open(t, server.URL(), false), "c", "new")
				l.subs.mu.Unlock()
			} else {
				server.Restart()
			}
			until(t, "the loss is noticed", func() bool { return l.apps.Of("app-1").currentEpoch() != epoch })
		})
	}
}

// TestOneLossIsOneGap: before, each gateway that noticed a loss began an epoch of its own, and followers of a
// log that came back empty began another, so that sockets were closed several times.
func TestOneLossIsOneGap(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{false, true} {
		name := map[bool]string{false: "nothing kept", true: "snapshot"}[snapshot]
		t.Run(name, func(t *testing.T) {
			server := redisserver.Start(t)
			logs := []*Log{open(t, server.URL(), false), open(t, server.URL(), false), open(t, server.URL(), false)}
			channels := []string{"a", "b", "c", "silent"}
			sinks := map[string][]*witness{}
			for _, c := range channels {
				for _, l := range logs {
					sinks[c] = append(sinks[c], attachTo(t, l, c))
				}
			}
			publish := func() {
				for _, c := range channels[:3] {
					for _, l := range logs {
						publishOne(t, l, c, "x")
					}
				}
			}
			publish()
			if snapshot {
				server.Do("SAVE")
				publish()
			}
			epoch := logs[0].apps.Of("app-1").currentEpoch()
			server.Kill()
			server.Restart()
			for _, l := range logs {
				until(t, "the loss is noticed", func() bool { return l.apps.Of("app-1").currentEpoch() != epoch })
			}
			publish()
			scans := make([]uint64, len(logs))
			for i, l := range logs {
				until(t, "the log is ready again", func() bool { return l.Health().Ready })
				scans[i] = l.Stats().Scans
				l.broken()
			}
			for i, l := range logs {
				until(t, "all channels were compared", func() bool { return l.Stats().Scans >= scans[i]+1 })
			}
			ends := map[string]uint64{}
			for _, c := range channels {
				ends[c] = publishOne(t, logs[0], c, "end")
			}
			for _, c := range channels {
				for i, w := range sinks[c] {
					until(t, "the last event is delivered", func() bool {
						pubs, _ := w.seen()
						return len(pubs) > 0 && pubs[len(pubs)-1].Offset == ends[c]
					})
					if _, gaps := w.seen(); len(gaps) != 1 {
						t.Errorf("channel %s, gateway %d: %d gaps %+v, want one", c, i, len(gaps), gaps)
					}
				}
			}
		})
	}
}

// TestEpochThatComesBack: a server that lost the newest epoch has the previous one again. Positions of that
// one must stay invalid.
func TestEpochThatComesBack(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false)
	a := l.apps.Of("app-1")
	first := a.currentEpoch()
	if err := l.lostPart(t.Context(), a, first); err != nil {
		t.Fatal(err)
	}
	second := a.currentEpoch()
	server.Do("SET " + l.keys.epoch("app-1") + " " + first)
	until(t, "a new life begins", func() bool { return a.currentEpoch() != second })
	if a.currentEpoch() == first {
		t.Error("an epoch that had ended is in force again")
	}
}

// TestEvictedWhileAnotherChannelWasLost: events that retention removes while a new epoch begins are missing
// as well. Before, they were left out without a gap.
func TestEvictedWhileAnotherChannelWasLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   broker.Position
		want broker.Gap
	}{
		"one gap names both": {broker.Position{Epoch: "old", Offset: 5}, broker.Gap{Reason: broker.GapEpoch}},
		"a life that was told before its places were known": {broker.Position{Epoch: "new", Offset: 5}, broker.Gap{Reason: broker.GapEvicted}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &witness{}
			f := alone(t, c.at, w)
			page := &scanned{exists: true, base: 1, last: 19, messages: 3}
			for offset := uint64(17); offset <= page.last; offset++ {
				page.entries = append(page.entries, arrival{
					offset: offset, prev: offset - 1, base: 1, entry: string(encode(&broker.Event{Name: "e"})),
				})
			}
			f.Lock()
			f.unproven, f.life = true, "new"
			f.Repair(follow.Read)
			found := f.absorb(page, ground{}, f.At(), f.life)
			f.Leave()
			if found != follow.Complete {
				t.Error("the repair is not over with the last entry")
			}
			pubs, gaps := w.seen()
			c.want.After, c.want.Resume = c.at, broker.Position{Epoch: "new", Offset: 16}
			if diff := cmp.Diff(gaps, []broker.Gap{c.want}); diff != "" || len(pubs) != 3 {
				t.Errorf("%d publications, want 3, and gaps:\n%s", len(pubs), diff)
			}
		})
	}
}

// TestWhatIsOnItsWayIsNotMissing: a repair may find that the log has removed events that are still to come as
// live messages.
func TestWhatIsOnItsWayIsNotMissing(t *testing.T) {
	t.Parallel()
	entry := func(offset, prev uint64) arrival {
		return arrival{offset: offset, prev: prev, base: 1, entry: string(encode(&broker.Event{Name: "e"}))}
	}
	for _, c := range []struct {
		name string
		page scanned
		// comes holds what arrives during the repair.
		comes     []arrival
		got, gaps int
	}{
		{"the log begins later", scanned{entries: []arrival{entry(8, 7)}, last: 8}, []arrival{entry(7, 5), entry(8, 7)}, 2, 0},
		{"the log has nothing", scanned{last: 7}, []arrival{entry(7, 5)}, 1, 0},
		{"a later one comes", scanned{entries: []arrival{entry(8, 7)}, last: 8}, []arrival{entry(8, 7)}, 1, 1},
		{"nothing comes", scanned{entries: []arrival{entry(8, 7)}, last: 8}, nil, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := &witness{}
			f := alone(t, broker.Position{Epoch: "e", Offset: 5}, w)
			c.page.exists, c.page.base = true, 1
			f.Lock()
			f.Repair(follow.Read)
			if found := f.absorb(&c.page, ground{}, f.At(), ""); found != follow.Awaited {
				t.Errorf("found %d, not that it is awaited", found)
			}
			f.Leave()
			for _, a := range c.comes {
				f.receive(a)
			}
			until(t, "the repair is over", func() bool {
				f.Lock()
				defer f.Leave()
				return f.absorb(&c.page, ground{}, f.At(), "") == follow.Complete
			})
			if pubs, gaps := w.seen(); len(pubs) != c.got || len(gaps) != c.gaps {
				t.Errorf("%d publications and %d gaps, want %d and %d", len(pubs), len(gaps), c.got, c.gaps)
			}
		})
	}
}

// TestVerifyingReadsPlaces: before, after each connection failure a gateway read the whole newest event of
// each of thousands of channels to compare its offset.
func TestVerifyingReadsPlaces(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	const channels, size = 20, 60 << 10
	for i := range channels {
		publishOne(t, l, fmt.Sprint("c", i), strings.Repeat("x", size))
	}
	sent := func() int { n, _ := strconv.Atoi(server.Info("total_net_output_bytes")); return n }
	before := sent()
	l.verify()
	if got := sent() - before; got > channels*size/4 {
		t.Errorf("%d bytes were read to compare %d channels", got, channels)
	}
}

// TestOffsetsOfAServerWithAClockBehind: before, a server that had lost the end of a channel and whose clock
// was behind gave the lost offsets to other events.
func TestOffsetsOfAServerWithAClockBehind(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	l := open(t, server.URL(), false, silent)
	k := l.keys.channel("app-1", "c")
	before := publishOne(t, l, "c", "x")
	// The channel is an hour ahead of the clock, and of another run of the server, which lost 1,000 events.
	ahead := before + uint64(time.Hour.Microseconds())
	server.Do(fmt.Sprintf("HSET %s s %d r another", k.meta, ahead))
	server.Do("HDEL " + k.meta + " u")
	if after := publishOne(t, l, "c", "y"); after <= ahead+1000 {
		t.Errorf("the next event has offset %d, and up to %d may have been given out", after, ahead+1000)
	}
}

// TestLossWhereNobodyListens: before, a gateway did not notice the loss of events that it had acknowledged if
// no connection for live messages broke: because it followed no channel, or none at this server of a cluster.
func TestLossWhereNobodyListens(t *testing.T) {
	t.Parallel()
	quick := func(o *Options) { o.AuditInterval = 100 * time.Millisecond }
	noticed := func(t *testing.T, l *Log, lose func()) {
		t.Helper()
		a := l.apps.Of("app-1")
		before := a.currentEpoch()
		lose()
		until(t, "a new life begins", func() bool { return a.currentEpoch() != before })
	}
	t.Run("a failover", func(t *testing.T) {
		t.Parallel()
		l, _, takeOver := behindOneAddress(t, quick)
		noticed(t, l, func() {
			publishOne(t, l, "c", "kept")
			takeOver(func() { publishOne(t, l, "c", "lost") })
		})
	})
	t.Run("a server of a cluster", func(t *testing.T) {
		t.Parallel()
		c := redisserver.StartCluster(t)
		l := open(t, c.URL(), true, silent, quick)
		home := c.Owner(int(slotOf(l.keys.epoch("app-1"))))
		channel := ""
		for i := 0; channel == "" || c.Owner(int(slotOf(l.keys.channel("app-1", channel).stream))) == home; i++ {
			channel = fmt.Sprint("c", i)
		}
		publishOne(t, l, channel, "lost")
		noticed(t, l, func() {
			server := c.Masters[c.Owner(int(slotOf(l.keys.channel("app-1", channel).stream)))]
			server.Kill()
			server.Restart()
		})
	})
}
