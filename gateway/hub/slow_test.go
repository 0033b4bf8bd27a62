package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// congested returns a rig in which a socket that does not read is soon behind.
func congested(t *testing.T, conflate bool) *rig {
	return newRig(t, func(o *Options, a *appT) {
		o.QueueFrames, o.QueueBytes, o.SendBuffer, o.SlowAge = 32, 64<<10, 4096, patience
		a.Conflate, a.Delta.Path = conflate, "symbol"
	})
}

// fill publishes as fast as another socket reads, until the slow one is behind or closed, and returns the
// number of events. check is called with each event that the other socket got.
func (r *rig) fill(check func(n int, text string)) (events int) {
	r.t.Helper()
	watcher := decode(r.subscribed("market", true))
	before := r.hub.Stats()
	for {
		now := r.hub.Stats()
		if now.Conflated > before.Conflated+20 || now.Overflowed > before.Overflowed {
			return events
		}
		if events > 50_000 {
			r.t.Fatal("the slow socket is not slow")
		}
		r.publish("market", "tick", fmt.Sprintf(`{"symbol":"S%d","n":%d,"note":%q}`, events%3, events, noise(uint64(events))))
		text, _ := watcher.next()
		if check != nil {
			check(events, text)
		}
		events++
	}
}

func TestSlowSockets(t *testing.T) {
	for _, deltas := range []bool{false, true} {
		t.Run(fmt.Sprintf("DS-37 conflate skips to the newest of each value and says so, deltas %v", deltas), func(t *testing.T) {
			r := congested(t, true)
			slow := r.subscribed("market", deltas)
			d := decode(slow)
			slow.pause()
			n := r.fill(nil)
			slow.resume()
			seen := map[int]bool{}
			newest, skipped, last := 0, 0, -1
			for newest < n-1 || len(seen)+skipped < n {
				// The socket gets what it missed most recently, in order.
				f := slow.frame()
				var m message
				if err := json.Unmarshal([]byte(f.payload), &m); err != nil {
					t.Fatal(err)
				}
				if m.Event == "pusher:conflated" {
					var told struct {
						Skipped int    `json:"skipped"`
						First   uint64 `json:"first_serial"`
						Last    uint64 `json:"last_serial"`
					}
					if err := json.Unmarshal(m.Data, &told); err != nil || told.Skipped == 0 || told.First > told.Last || m.Channel != "market" {
						t.Fatalf("told %s: %v", m.text, err)
					}
					skipped += told.Skipped
					continue
				}
				text, _ := d.rebuild(message{text: f.payload})
				at := eventOf(t, text)
				if at <= last {
					t.Fatalf("event %d after %d", at, last)
				}
				last, newest, seen[at] = at, at, true
			}
			for i := range 3 {
				if !seen[n-1-i] {
					t.Errorf("event %d, the newest of its value, did not come", n-1-i)
				}
			}
			// It is like any other socket again.
			for i := range 3 {
				r.publish("market", "tick", tick(i))
				if text, _ := d.next(); !strings.Contains(text, "price") {
					t.Errorf("afterwards got %s", text)
				}
			}
		})
	}
	t.Run("1.14 close ends the socket with 4100 and nobody else", func(t *testing.T) {
		r := congested(t, false)
		slow := r.subscribed("market", false)
		slow.pause()
		r.fill(func(n int, text string) {
			if eventOf(t, text) != n {
				t.Fatalf("another socket got %s as event %d", text, n)
			}
		})
		slow.resume()
		if code := slow.closed(); code != int(pusher.CloseOverCapacity) {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("without conflation values there is nothing to go by", func(t *testing.T) {
		r := newRig(t, func(o *Options, a *appT) {
			o.QueueFrames, o.QueueBytes, o.SendBuffer, o.SlowAge, a.Conflate = 32, 64<<10, 4096, patience, true
		})
		slow := r.subscribed("market", false)
		slow.pause()
		r.fill(nil)
		slow.resume()
		if code := slow.closed(); code != int(pusher.CloseOverCapacity) {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("too many values close the socket", func(t *testing.T) {
		r := newRig(t, func(o *Options, a *appT) {
			o.QueueFrames, o.QueueBytes, o.SendBuffer, o.SlowAge = 32, 64<<10, 4096, patience
			a.Conflate, a.Delta.Path, a.Delta.MaxKeys = true, "n", 5
		})
		slow := r.subscribed("market", false)
		slow.pause()
		r.fill(nil)
		slow.resume()
		if code := slow.closed(); code != int(pusher.CloseOverCapacity) {
			t.Errorf("closed with %d", code)
		}
	})
}

// eventOf returns the number in the data of an event of fill.
func eventOf(t *testing.T, text string) int {
	t.Helper()
	m := frameOf(t, text)
	data := string(m.Data)
	if strings.HasPrefix(data, `"`) {
		data = m.str()
	}
	var d struct{ N int }
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d.N
}
