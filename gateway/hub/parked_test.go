package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime05AParkedPositionComesBeforeWhatIsLive: a position that was sent before its subscription brings the
// missed events before the live ones, however many are published while the client subscribes.
func TestTime05AParkedPositionComesBeforeWhatIsLive(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	p, _ := r.second()
	for round := range 40 {
		channel := fmt.Sprint("parked", round)
		var at broker.Receipt
		for n := range 5 {
			got, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(fmt.Sprint(n))}})
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				at = got[0]
			}
		}
		p.from(channel, at.Epoch, at.Offset, "")
		p.summary()
		done := make(chan error, 1)
		go func() {
			var err error
			for n := 5; n < 30 && err == nil; n++ {
				_, err = r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: []byte(fmt.Sprint(n))}})
			}
			done <- err
		}()
		p.join(channel, "")
		var got []string
		for summed := false; len(got) < 29 || !summed; {
			if m := p.next(); m.Event == "sockudo:resume_success" {
				summed = true
			} else if !strings.HasPrefix(m.Event, "sockudo") {
				got = append(got, m.str())
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(1, 29), got); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
		p.alive()
	}
}
