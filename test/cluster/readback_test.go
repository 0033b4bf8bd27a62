package cluster

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// TestHistoryHasWhatWasAcknowledged reads right after each acknowledgement, through the same gateway and
// another one. Replicas are behind their leader for a moment, and the history must not show that.
func TestHistoryHasWhatWasAcknowledged(t *testing.T) {
	c := start(t, 2, settings{replicated: true})
	id := c.set.apps[0].ID
	var first broker.Position
	for i := range 1500 {
		channel := fmt.Sprint("c", i%3)
		receipts, err := c.nodes[i%2].log.Publish(t.Context(), id, broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		want := receipts[0].Position
		if channel == "c0" && first.Offset == 0 {
			first = want
		}
		log := c.nodes[i/2%2].log
		ends := func(what string, p *broker.Page, err error, newestFirst bool) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			at := len(p.Publications) - 1
			if newestFirst {
				at = 0
			}
			if len(p.Publications) == 0 || p.Publications[at].Offset != want.Offset || p.Retained.Newest != want.Offset {
				t.Errorf("%s after event %d ends at another one than %d: %d publications, retained %+v", what, i, want.Offset, len(p.Publications), p.Retained)
			}
		}
		var page *broker.Page
		switch i % 4 {
		case 0:
			page, err = log.Read(t.Context(), id, channel, broker.Query{NewestFirst: true, Limit: 1})
			ends("the newest", page, err, true)
		case 1:
			page, err = log.Read(t.Context(), id, channel, broker.Query{Limit: 1000})
			ends("everything", page, err, false)
		case 2:
			page, err = log.Read(t.Context(), id, channel, broker.Query{NewestFirst: true, Limit: 10, To: want.Offset})
			ends("the newest up to it", page, err, true)
		case 3:
			if channel == "c0" && want.Offset > first.Offset {
				page, err = log.After(t.Context(), id, channel, first, 1000)
				ends("what follows", page, err, false)
				continue
			}
			r, err := log.Retained(t.Context(), id, channel)
			if err != nil || r.Newest != want.Offset || r.Messages != uint64(i/3+1) {
				t.Errorf("after event %d: %+v, %v", i, r, err)
			}
		}
	}
}
