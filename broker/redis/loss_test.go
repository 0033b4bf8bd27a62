package redis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// witness records the publications and gaps of a sink.
type witness struct {
	mu   sync.Mutex
	pubs []*broker.Publication
	gaps []broker.Gap
}

func (w *witness) Publication(p *broker.Publication) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pubs = append(w.pubs, p)
}

func (w *witness) Gap(g broker.Gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaps = append(w.gaps, g)
}

func (w *witness) seen() ([]*broker.Publication, []broker.Gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pubs), slices.Clone(w.gaps)
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

// storm publishes through several logs until it is stopped, and records the acknowledged events. Refused
// publishes are dropped.
type storm struct {
	mu    sync.Mutex
	acked map[string]map[uint64]string // data by offset, by channel
	twice []string
	stop  chan struct{}
	done  sync.WaitGroup
}

func publishThrough(t *testing.T, channels []string, logs ...*Log) *storm {
	s := &storm{acked: map[string]map[uint64]string{}, stop: make(chan struct{})}
	for _, c := range channels {
		s.acked[c] = map[uint64]string{}
	}
	for node, l := range logs {
		s.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-s.stop:
					return
				default:
				}
				c, data := channels[(i+node*7)%len(channels)], fmt.Sprintf("%d/%d", node, i)
				rs, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: c, Event: &broker.Event{Name: "e", Data: []byte(data)}})
				if err != nil {
					continue
				}
				s.mu.Lock()
				if had, used := s.acked[c][rs[0].Offset]; used {
					s.twice = append(s.twice, fmt.Sprintf("%s %d: %s and %s", c, rs[0].Offset, had, data))
				}
				s.acked[c][rs[0].Offset] = data
				s.mu.Unlock()
			}
		})
	}
	return s
}

func (s *storm) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.acked {
		n += len(m)
	}
	return n
}

func (s *storm) end(t *testing.T) map[string]map[uint64]string {
	close(s.stop)
	s.done.Wait()
	for _, x := range s.twice {
		t.Errorf("an offset was given out twice: %s", x)
	}
	return s.acked
}

// TestR25KilledRedis kills the server under load. With an append-only file that is synced before each answer
// no event is lost, and there is no more than a pause. (With everysec an append waits for a slow disk, and is
// lost with the process; see TestKilledMasterOfCluster.) Without such a file, or with a snapshot only, no
// subscriber may be left to believe that it has everything: there is a new epoch, a gap for attached sinks,
// an error for resumes, and no offset with two meanings.
func TestR25KilledRedis(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		args     []string
		snapshot bool
		keeps    bool
	}{
		{"append-only file", []string{"--appendonly", "yes", "--appendfsync", "always"}, false, true},
		{"nothing kept", nil, false, false},
		{"snapshot", nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault.Seeds(t, 25, func(t *testing.T, rng *rand.Rand) {
				killed(t, rng, redisserver.Start(t, c.args...), c.snapshot, c.keeps)
			})
		})
	}
}

func killed(t *testing.T, rng *rand.Rand, server *redisserver.Server, snapshot, keeps bool) {
	large := func(o *Options) {
		for i := range o.Apps {
			o.Apps[i].MaxMessages = 1_000_000
		}
		o.PublishTimeout = 2 * time.Second
	}
	one, other := open(t, server.URL(), false, large), open(t, server.URL(), false, large)
	channels := []string{"a", "b", "c"}
	sinks := map[string][]*witness{}
	for _, c := range channels {
		for _, l := range []*Log{one, other} {
			w := &witness{}
			at, err := l.Attach(t.Context(), "app-1", c, w)
			if err != nil {
				t.Fatal(err)
			}
			defer at.Detach()
			sinks[c] = append(sinks[c], w)
		}
	}
	epoch := one.apps.Of("app-1").currentEpoch()
	load := publishThrough(t, channels, one, other)
	until(t, "there is some load", func() bool { return load.count() > 200+rng.IntN(500) })
	if snapshot {
		server.Do("SAVE")
		n := load.count()
		until(t, "there is more than in the snapshot", func() bool { return load.count() > n+100+rng.IntN(300) })
	}
	server.Kill()
	before := map[string]uint64{}
	load.mu.Lock()
	for c, m := range load.acked {
		for offset := range m {
			before[c] = max(before[c], offset)
		}
	}
	load.mu.Unlock()
	n := load.count()
	server.Restart()
	until(t, "publishing goes on", func() bool { return load.count() > n+200 })
	if !keeps {
		for _, l := range []*Log{one, other} {
			until(t, "the loss is noticed", func() bool { return l.apps.Of("app-1").currentEpoch() != epoch })
		}
	}
	acked := load.end(t)

	// One more event per channel shows when all are delivered.
	for _, c := range channels {
		last := publishOne(t, one, c, "end")
		acked[c][last] = "end"
		for i, w := range sinks[c] {
			until(t, "the last event is delivered", func() bool {
				pubs, _ := w.seen()
				return len(pubs) > 0 && pubs[len(pubs)-1].Offset == last
			})
			pubs, gaps := w.seen()
			check(t, fmt.Sprintf("channel %s, node %d", c, i), pubs, gaps, acked[c], keeps)
		}
		_, err := other.After(t.Context(), "app-1", c, broker.Position{Epoch: epoch, Offset: before[c]}, 1000)
		if keeps && err != nil {
			t.Errorf("coming back after the last event before the kill: %v", err)
		}
		if !keeps && !errors.Is(err, broker.ErrEpochChanged) {
			t.Errorf("coming back after an event that was lost: got %v, want ErrEpochChanged", err)
		}
	}
	for _, l := range []*Log{one, other} {
		until(t, "the log is ready again", func() bool { return l.Health().Ready })
	}
}

// check compares what a sink got with the acknowledged events.
func check(t *testing.T, who string, pubs []*broker.Publication, gaps []broker.Gap, acked map[uint64]string, keeps bool) {
	t.Helper()
	delivered := map[uint64]bool{}
	last := uint64(0)
	for _, p := range pubs {
		if p.Offset <= last {
			t.Errorf("%s: offset %d follows %d", who, p.Offset, last)
		}
		last = p.Offset
		delivered[p.Offset] = true
		if data, known := acked[p.Offset]; known && data != string(p.Data) {
			t.Errorf("%s: offset %d is %s, its publisher was told %s", who, p.Offset, p.Data, data)
		}
	}
	missed := 0
	for offset := range acked {
		if !delivered[offset] {
			missed++
		}
	}
	switch {
	case keeps && (missed > 0 || len(gaps) > 0):
		t.Errorf("%s: %d acknowledged events were not delivered, gaps %+v", who, missed, gaps)
	case !keeps && (len(gaps) == 0 || gaps[0].Reason != broker.GapEpoch):
		t.Errorf("%s: gaps %+v, want one for the new epoch", who, gaps)
	}
}

// TestCutFeedsMissNothing breaks the subscribing connections again and again, on one server and on a cluster.
// Events published meanwhile are read from the log.
func TestCutFeedsMissNothing(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			fault.Seeds(t, 25, func(t *testing.T, rng *rand.Rand) {
				var servers []*redisserver.Server
				url := ""
				if cluster {
					c := redisserver.StartCluster(t)
					servers, url = c.Masters[:], c.URL()
				} else {
					s := redisserver.Start(t)
					servers, url = []*redisserver.Server{s}, s.URL()
				}
				cutFeeds(t, rng, servers, open(t, url, cluster, func(o *Options) { o.Apps[0].MaxMessages = 1_000_000 }))
			})
		})
	}
}

func cutFeeds(t *testing.T, rng *rand.Rand, servers []*redisserver.Server, l *Log) {
	channels := []string{"a", "b", "c", "d", "e", "f"}
	sinks := map[string]*witness{}
	for _, c := range channels {
		sinks[c] = &witness{}
		at, err := l.Attach(t.Context(), "app-1", c, sinks[c])
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
	}
	load := publishThrough(t, channels, l)
	for range 4 {
		n := load.count()
		until(t, "there is some load", func() bool { return load.count() > n+50+rng.IntN(200) })
		servers[rng.IntN(len(servers))].Do("CLIENT KILL TYPE pubsub")
	}
	acked := load.end(t)
	for c, w := range sinks {
		// No further event comes: the last one must not wait for the next.
		last := uint64(0)
		for offset := range acked[c] {
			last = max(last, offset)
		}
		until(t, "the last event is delivered", func() bool {
			pubs, _ := w.seen()
			return len(pubs) > 0 && pubs[len(pubs)-1].Offset == last
		})
		pubs, gaps := w.seen()
		check(t, "channel "+c, pubs, gaps, acked[c], true)
	}
}
