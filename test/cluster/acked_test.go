package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// TestR1AcknowledgedSurvivesKills kills the only NATS server and a gateway in a burst, again and again. Every
// acknowledged event is stored, and no subscriber misses one.
func TestR1AcknowledgedSurvivesKills(t *testing.T) {
	fault.Seeds(t, 1, func(t *testing.T, rnd *rand.Rand) {
		nats := spawnNATS(t)
		set := childSettings{URLs: []string{nats.url()}, App: "app", Members: 100, Lease: 15 * time.Second, Replicas: 1}
		a := set.tenant()
		keeper, victim := spawn(t, set), spawn(t, set)
		watcher := dialPeer(t, keeper.Addr(), a)
		watcher.subscribe("burst", "")
		var mu sync.Mutex
		acked := map[string]bool{}
		n := 0
		burst := func(to *child) (stop func()) {
			done := make(chan struct{})
			var running sync.WaitGroup
			for range 4 {
				running.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						mu.Lock()
						n++
						id := fmt.Sprint("e", n)
						mu.Unlock()
						body := fmt.Sprintf(`{"name":"burst","channel":"burst","data":%q}`, id)
						if status, err := tryRequest(to.Addr(), a, http.MethodPost, "/events", body); err == nil && status == http.StatusOK {
							mu.Lock()
							acked[id] = true
							mu.Unlock()
						}
					}
				})
			}
			return func() { close(done); running.Wait() }
		}
		more := func(k int) {
			mu.Lock()
			want := len(acked) + k
			mu.Unlock()
			eventually(t, "events are acknowledged", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(acked) >= want
			})
		}
		stop := burst(keeper)
		for range 3 {
			more(100 + rnd.IntN(200))
			nats.kill()
			nats.start()
		}
		more(50)
		stop()
		stop = burst(victim)
		more(100 + rnd.IntN(200))
		victim.kill()
		stop()

		eventually(t, "a last event is stored", func() bool {
			status, err := tryRequest(keeper.Addr(), a, http.MethodPost, "/events", `{"name":"burst","channel":"burst","data":"last"}`)
			return err == nil && status == http.StatusOK
		})
		seen := func() []string {
			var out []string
			for _, m := range watcher.all("burst", "burst") {
				out = append(out, m.str())
			}
			return out
		}
		eventually(t, "the last event has come", func() bool { return slices.Contains(seen(), "last") })
		got := map[string]int{}
		for _, id := range seen() {
			got[id]++
		}
		mu.Lock()
		defer mu.Unlock()
		for id := range acked {
			if got[id] != 1 {
				t.Errorf("%s was acknowledged and came %d times", id, got[id])
			}
		}
		t.Logf("%d of %d events were acknowledged", len(acked), n)
	})
}
