package hub

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime04RefusedResumesShareLooksAtTheLog: the answer to a refused position says what the log retains. A
// thousand refused resumes cost a few reads per channel and not one each, whatever is wrong with the
// positions.
func TestTime04RefusedResumesShareLooksAtTheLog(t *testing.T) {
	const channels, sockets = 50, 20
	for what, position := range map[string]string{
		"another stream": `{"stream_id":"other","serial":1}`, "no stream": `{"serial":1}`,
		"above the newest": `{"stream_id":%q,"serial":9007199254740991}`,
	} {
		t.Run("RE-05 "+what, func(t *testing.T) {
			r := timeRig(t, memory.Options{}, nil)
			positions := map[string]json.RawMessage{}
			names := make([]string, channels)
			for i := range names {
				names[i] = fmt.Sprint("c", i)
				at := r.publish(names[i], "tick", "1")
				text := position
				if what == "above the newest" {
					text = fmt.Sprintf(position, at.Epoch)
				}
				positions[names[i]] = json.RawMessage(text)
			}
			wish, err := json.Marshal(map[string]any{"channel_positions": positions})
			if err != nil {
				t.Fatal(err)
			}
			peers := make([]*peer, sockets)
			for i := range peers {
				peers[i], _ = r.second()
				for _, name := range names {
					peers[i].join(name, "")
				}
			}
			before := testutil.ToFloat64(r.hub.opt.Metrics.recoveryReads)
			for _, p := range peers {
				p.say(`{"event":"sockudo:resume","data":%s}`, wish)
			}
			var reading sync.WaitGroup
			for _, p := range peers {
				reading.Go(func() {
					for range channels {
						var f failure
						m := p.next()
						m.inner(t, &f)
						if m.Event != "sockudo:resume_failed" || f.Oldest == nil || *f.Oldest == 0 || f.Newest == nil || *f.Newest != *f.Oldest {
							t.Errorf("got %s", m.text)
							return
						}
					}
					if m := p.next(); m.Event != "sockudo:resume_success" {
						t.Errorf("got %s", m.text)
					}
				})
			}
			reading.Wait()
			reads := testutil.ToFloat64(r.hub.opt.Metrics.recoveryReads) - before
			t.Logf("%v looks for %d refused resumes in %d channels", reads, channels*sockets, channels)
			if reads > 5*channels {
				t.Errorf("%v looks at the log", reads)
			}
		})
	}
}
