package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// saysNothing checks that a success frame is that of a channel without events.
func saysNothing(t *testing.T, what string, m message) {
	t.Helper()
	if m.Serial != 0 || m.StreamID == "" || !strings.Contains(m.text, `"serial":0}`) || !strings.Contains(m.str(), `"attach_serial":0`) {
		t.Errorf("%s: got %s, want serial and attach_serial 0", what, m.text)
	}
}

// TestV207EmptyChannels: a log may number the channels of an app together, or begin a channel at any number.
// A channel without events has serial 0 all the same, and a client that resumes with what the success frame
// said misses nothing.
func TestV207EmptyChannels(t *testing.T) {
	begin := func(t *testing.T) (*rig, *peer) {
		r := timeRig(t, memory.Options{MaxMessages: 3}, nil)
		r.publishMany("other", 1, 5)
		p, _ := r.second()
		return r, p
	}
	returned := func(m message) string { return fmt.Sprintf(`,"last_message_id":%q`, m.MessageID) }

	t.Run("V2-07 serial 0 beside other channels, in a frame of its own each time", func(t *testing.T) {
		r, p := begin(t)
		ids := map[string]bool{}
		for range 3 {
			m := p.join("empty", "")
			saysNothing(t, "a channel without events", m)
			ids[m.MessageID] = true
		}
		q, _ := r.second()
		m := q.join("empty", "")
		saysNothing(t, "a second client", m)
		if ids[m.MessageID] = true; len(ids) != 4 {
			t.Errorf("the frames have the ids %v", ids)
		}
		at := r.publishMany("empty", 1, 1)
		q.events(1)
		if m := q.join("empty", ""); m.Serial != at.Offset || strings.Contains(m.MessageID, ":") {
			t.Errorf("after an event: got %s", m.text)
		}
		if m := q.join("other", ""); m.Serial != 5 {
			t.Errorf("a channel with events: got %s", m.text)
		}
	})
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprintf("RE-01 what follows comes back, sent ahead of the subscription %t", before), func(t *testing.T) {
			r, p := begin(t)
			m := p.join("empty", "")
			at := r.publishMany("empty", 1, 2)
			q, _ := r.second()
			if before {
				q.from("empty", m.StreamID, 0, returned(m))
				q.want("sockudo:resume_success")
			}
			q.join("empty", "")
			if !before {
				q.from("empty", m.StreamID, 0, returned(m))
			}
			if diff := cmp.Diff(numbers(1, 2), q.events(2)); diff != "" {
				t.Error(diff)
			}
			if got := q.summary(); len(got.Recovered) != 1 || got.Recovered[0].Position.Serial != at.Offset {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("RE-07 nothing followed", func(t *testing.T) {
		r, p := begin(t)
		m := p.join("empty", "")
		q, _ := r.second()
		q.join("empty", "")
		q.from("empty", m.StreamID, 0, returned(m))
		if got := q.summary(); len(got.Recovered) != 1 || got.Recovered[0].Position != (position{Stream: m.StreamID, Serial: 5}) {
			t.Errorf("got %+v, want the place at which the channel was found empty", got)
		}
	})
	t.Run("RE-05 the place proves what serial 0 does not", func(t *testing.T) {
		r, p := begin(t)
		r.publishMany("purged", 1, 2)
		if _, err := r.log.(broker.Eraser).Purge(t.Context(), "app", "purged", 0); err != nil {
			t.Fatal(err)
		}
		m := p.join("purged", "")
		saysNothing(t, "a channel whose events are gone", m)
		r.publishMany("purged", 3, 4)
		q, _ := r.second()
		q.join("purged", "")
		for _, more := range []string{"", `,"last_message_id":"m1"`, `,"last_message_id":"at:7"`, `,"last_message_id":"at:x:1"`, `,"last_message_id":"at:99999999999999999999:1"`} {
			q.from("purged", m.StreamID, 0, more)
			if got := q.failedOne(); got.Code != "position_expired" {
				t.Errorf("serial 0%s: got %+v", more, got)
			}
		}
		q.from("purged", m.StreamID, 0, `,"last_message_id":"at:5000:1"`)
		if got := q.failedOne(); got.Code != "continuity_unverifiable" {
			t.Errorf("a place that is not there yet: got %+v", got)
		}
		q.from("purged", "another", 0, returned(m))
		if got := q.failedOne(); got.Code != "stream_reset" {
			t.Errorf("a place in another stream: got %+v", got)
		}
		q.from("purged", m.StreamID, 0, returned(m))
		if diff := cmp.Diff(numbers(3, 4), q.events(2)); diff != "" {
			t.Error(diff)
		}
		q.summary()
		q.alive()
	})
	t.Run("serial 0 without a place is everything, where nothing can be gone", func(t *testing.T) {
		r, p := begin(t)
		m := p.join("empty", "")
		r.publishMany("empty", 1, 3)
		q, _ := r.second()
		q.join("empty", "")
		q.from("empty", m.StreamID, 0, "")
		if diff := cmp.Diff(numbers(1, 3), q.events(3)); diff != "" {
			t.Error(diff)
		}
		q.summary()
	})
	t.Run("HI-07 and HI-08 nothing is left while the channel is followed", func(t *testing.T) {
		r, p := begin(t)
		first := p.join("other", "")
		r.hub.mu.Lock()
		ch := r.hub.channels[channelKey{"app", "other"}]
		r.hub.mu.Unlock()
		for i, epoch := range []string{first.StreamID, first.StreamID + "-1"} {
			ch.Forget(broker.Position{Epoch: epoch, Offset: uint64(5 + i)})
			q, _ := r.second()
			eventually(t, "the purge is known", func() bool {
				m := q.join("other", "")
				if m.Serial != 0 || m.StreamID != epoch {
					return false
				}
				saysNothing(t, epoch, m)
				return true
			})
		}
	})
}

// failedOne reads the failure of the only position of a resume request.
func (p *peer) failedOne() failure {
	p.t.Helper()
	var f failure
	p.want("sockudo:resume_failed").inner(p.t, &f)
	p.summary()
	return f
}

// TestV207EmptyChannelsWithoutRecovery: without recovery the message id of the frame contains no position.
// Without history there is no stream_id either.
func TestV207EmptyChannelsWithoutRecovery(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Recovery = app.Recovery{} })
	r.publishMany("other", 1, 5)
	p, _ := r.second()
	if m := p.join("empty", ""); m.StreamID != "" || !strings.Contains(m.str(), `"attach_serial":0`) || strings.Contains(m.MessageID, ":") {
		t.Errorf("got %s", m.text)
	}
}
