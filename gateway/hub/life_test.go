package hub

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// lifeFeed is a feed whose log may begin a new life while a channel attaches.
type lifeFeed struct {
	// during is what the sink hears before Attach returns.
	during func(broker.Sink)
	at     broker.Position
}

type lifeAttachment struct{ at broker.Position }

func (a lifeAttachment) Position() broker.Position { return a.at }
func (lifeAttachment) Detach()                     {}

func (f *lifeFeed) Attach(_ context.Context, app, _ string, sink broker.Sink) (broker.Attachment, error) {
	if app != broker.GatewaysApp && f.during != nil {
		f.during(sink)
	}
	return lifeAttachment{f.at}, nil
}

func (r *rig) channel(name string) *Channel {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return r.hub.channels[channelKey{"app", name}]
}

func inLife(epoch string, offset uint64, name string) *broker.Publication {
	return &broker.Publication{
		Event:    broker.Event{Name: name, Data: []byte(`{"n":1}`), Origin: broker.OriginHTTP},
		Position: broker.Position{Epoch: epoch, Offset: offset}, Time: time.Now(),
	}
}

func newLife(offset uint64) broker.Gap {
	return broker.Gap{
		After: broker.Position{Epoch: "one", Offset: 900}, Resume: broker.Position{Epoch: "two", Offset: offset}, Reason: broker.GapEpoch,
	}
}

// A position of the life before must not hide what the new one begins with.
func TestTrust19NewLifeWhileAChannelAttaches(t *testing.T) {
	for _, c := range []struct {
		name   string
		during func(broker.Sink)
		first  uint64
	}{
		{"the new life is empty", func(s broker.Sink) { s.Gap(newLife(0)) }, 1},
		{"the new life goes on behind a lost tail", func(s broker.Sink) { s.Gap(newLife(700)) }, 701},
		{"events of both lives came", func(s broker.Sink) {
			s.Publication(inLife("one", 901, "old"))
			s.Gap(newLife(0))
			s.Publication(inLife("two", 1, "early"))
		}, 2},
		{"nothing began", nil, 901},
	} {
		for _, channel := range []string{"plain", "cache-x"} {
			for _, deltas := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, delta %v", c.name, channel, deltas), func(t *testing.T) {
					log := newMemory(t, "app")
					t.Cleanup(func() { _ = log.Close() })
					r := newRig(t, func(o *Options, a *appT) {
						o.Feed = &lifeFeed{during: c.during, at: broker.Position{Epoch: "one", Offset: 900}}
						o.History, a.Delta.Enabled = log, deltas
					})
					p, _ := r.connect()
					p.subscribe(channel)
					epoch := "two"
					if c.during == nil {
						epoch = "one"
					}
					if channel == "cache-x" {
						p.next() // the cached event, or that there is none
					}
					for i := range uint64(3) {
						r.channel(channel).Publication(inLife(epoch, c.first+i, fmt.Sprintf("e%d", i)))
						p.want(fmt.Sprintf("e%d", i))
					}
				})
			}
		}
	}
}

// occupy keeps the shard from a job that is to be posted, until the function is called that
// it returns.
func (s *subscribers) occupy() (free func()) {
	occupied, release, freed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(freed)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posted++
		close(occupied)
		<-release
	}()
	<-occupied
	return sync.OnceFunc(func() {
		close(release)
		<-freed
	})
}

// What is on its way to a shard is done in order, also when the last subscriber has gone
// meanwhile.
func TestTrust19LateGapClearsNothingNewer(t *testing.T) {
	log := newMemory(t, "app")
	t.Cleanup(func() { _ = log.Close() })
	r := newRig(t, func(o *Options, _ *appT) {
		o.Shards = 1
		o.Feed, o.History = &lifeFeed{at: broker.Position{Epoch: "one", Offset: 900}}, log
	})
	other := r.subscribed("other", false)
	p, _ := r.connect()
	p.subscribe("cache-x")
	p.want("pusher:cache_miss")
	// The shard is kept busy with another channel.
	busy := r.channel("other")
	busy.log.Lock()
	first := busy.prepare(inLife("one", 901, "e"))
	busy.log.Unlock()
	list := &busy.shards[0]
	free := list.occupy()
	defer free()
	r.hub.hall.shards[0].post(job{to: list, p: first})
	c := r.channel("cache-x")
	c.Gap(newLife(0))
	p.hangUp()
	eventually(t, "the subscriber has left", func() bool {
		c.shards[0].mu.Lock()
		defer c.shards[0].mu.Unlock()
		return len(c.shards[0].list) == 0
	})
	c.Publication(inLife("two", 1, "newer"))
	free()
	other.want("e")
	eventually(t, "the shard has done everything", func() bool {
		c.shards[0].mu.Lock()
		defer c.shards[0].mu.Unlock()
		return c.shards[0].posted == 0
	})
	again, _ := r.connect()
	again.subscribe("cache-x")
	again.want("newer")
	c.shards[0].mu.Lock()
	defer c.shards[0].mu.Unlock()
	if got := c.shards[0].last; got != 1 {
		t.Errorf("the list is served up to %d, want 1", got)
	}
}
