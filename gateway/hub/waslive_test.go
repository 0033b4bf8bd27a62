package hub

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime16WhatExcludedAFormerSocketComesLate: an event may be acknowledged before a client is cut off, and
// reach the gateway only after the client has reconnected and is live. The client names its former socket, so
// an event published without that socket is not sent to it, live or replayed.
func TestTime16WhatExcludedAFormerSocketComesLate(t *testing.T) {
	for _, stream := range []string{"", "another"} {
		for _, parked := range []bool{false, true} {
			t.Run(fmt.Sprintf("the position is of the stream %q, parked %v", stream, parked), func(t *testing.T) {
				r := timeRig(t, memory.Options{}, nil)
				at := r.publish("orders", "tick", "0")
				if stream != "" {
					at.Epoch = stream
				}
				p, _ := r.second()
				resume := func() {
					p.say(`{"event":"sockudo:resume","data":{"socket_id":"1.1","channel_positions":{"orders":{"stream_id":%q,"serial":%d}}}}`, at.Epoch, at.Offset)
				}
				if parked {
					resume()
					p.summary()
					p.join("orders", "")
				} else {
					p.join("orders", "")
					resume()
				}
				if stream != "" {
					p.want("sockudo:resume_failed")
				}
				p.summary()
				other, otherID := r.second()
				other.join("orders", "")
				for _, excluded := range []string{"1.1", otherID} {
					r.publish("orders", "tick", "without "+excluded, func(e *broker.Event) { e.ExcludeSocket = excluded })
				}
				r.publish("orders", "tick", "for all")
				if got := p.events(2); got[0] != "without "+otherID || got[1] != "for all" {
					t.Errorf("got %q, of which one excluded the socket that the client was", got)
				}
				if got := other.events(2); got[0] != "without 1.1" || got[1] != "for all" {
					t.Errorf("somebody else got %q", got)
				}
				// It is still the same client after it subscribes again.
				p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"orders"}}`)
				p.join("orders", "")
				r.publish("orders", "tick", "without it again", func(e *broker.Event) { e.ExcludeSocket = "1.1" })
				r.publish("orders", "tick", "last")
				if got := p.events(1); got[0] != "last" {
					t.Errorf("got %q once it had subscribed again", got)
				}
			})
		}
	}
}
