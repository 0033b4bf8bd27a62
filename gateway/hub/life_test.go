package hub

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// lifeFeed is a feed whose log may begin a new epoch while a channel attaches.
type lifeFeed struct {
	// during is called with the sink before Attach returns.
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

// TestTrust19NewLifeWhileAChannelAttaches: a position of the old epoch must not hide the first events of the
// new one.
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
						p.next() // the cached event, or cache_miss
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
