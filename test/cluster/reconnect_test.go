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

// TestR5SocketsOfAKilledGateway kills a gateway with many sockets in a burst. All reconnect to another
// gateway. For each socket, the events it saw before, the history after them, and the events it sees from
// then on make up the log.
func TestR5SocketsOfAKilledGateway(t *testing.T) {
	fault.Seeds(t, 5, func(t *testing.T, rnd *rand.Rand) {
		sockets := 300
		if fault.Long() {
			sockets = 2000
		}
		const channels = 10
		nats := startNATS(t)
		set := childSettings{URLs: nats.urls(), App: "app", Members: 100, Lease: 15 * time.Second}
		a := set.tenant()
		victim, heir := spawn(t, set), spawn(t, set)
		channel := func(i int) string { return fmt.Sprint("burst-", i%channels) }
		connect := func(to *child) []*peer {
			peers := make([]*peer, sockets)
			var running sync.WaitGroup
			for part := range 20 {
				running.Go(func() {
					for i := part; i < sockets; i += 20 {
						peers[i] = dialPeer(t, to.Addr(), a)
						peers[i].subscribe(channel(i), "")
					}
				})
			}
			running.Wait()
			return peers
		}
		before := connect(victim)
		stop := make(chan struct{})
		var publishing sync.WaitGroup
		var mu sync.Mutex
		n := 0
		for range 4 {
			publishing.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					n++
					k := n
					mu.Unlock()
					body := fmt.Sprintf(`{"name":"burst","channel":%q,"data":"e%d"}`, channel(k), k)
					if status := requestAt(t, heir.Addr(), a, http.MethodPost, "/events", body, nil); status != http.StatusOK {
						t.Errorf("answered %d", status)
					}
				}
			})
		}
		enough := 200 + rnd.IntN(300)
		eventually(t, "the burst goes on", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return n > enough
		})
		victim.kill()
		after := connect(heir)
		close(stop)
		publishing.Wait()
		for i := range channels {
			body := fmt.Sprintf(`{"name":"burst","channel":%q,"data":"last"}`, channel(i))
			requestAt(t, heir.Addr(), a, http.MethodPost, "/events", body, nil)
		}
		logs := map[string][]string{}
		for i := range channels {
			logs[channel(i)] = history(t, heir, set, channel(i))
		}
		for i := range sockets {
			log := logs[channel(i)]
			eventually(t, "the last event has come", func() bool { return slices.Contains(texts(after[i], channel(i)), "last") })
			first, second := texts(before[i], channel(i)), texts(after[i], channel(i))
			if len(first) > len(log) || !slices.Equal(first, log[:len(first)]) {
				t.Fatalf("socket %d saw %v before, which is not how the log begins", i, first)
			}
			rest := log[len(first):]
			if len(second) > len(log) || !slices.Equal(second, log[len(log)-len(second):]) {
				t.Fatalf("socket %d saw %v after, which is not how the log ends", i, second)
			}
			// The history after the last offset returns the events in between.
			if len(second) > len(rest) {
				t.Fatalf("socket %d saw %d events twice", i, len(second)-len(rest))
			}
		}
	})
}

func texts(p *peer, channel string) []string {
	var out []string
	for _, m := range p.all("burst", channel) {
		out = append(out, m.str())
	}
	return out
}

// history reads a channel through the HTTP API.
func history(t *testing.T, c *child, s childSettings, channel string) []string {
	t.Helper()
	var out []string
	cursor := ""
	for {
		var page struct {
			Items []struct {
				Message struct{ Data string }
			} `json:"items"`
			HasMore bool   `json:"has_more"`
			Next    string `json:"next_cursor"`
		}
		path := "/channels/" + channel + "/history?direction=oldest_first&limit=100"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		if status := requestAt(t, c.Addr(), s.tenant(), http.MethodGet, path, "", &page); status != http.StatusOK {
			t.Fatalf("history answered %d", status)
		}
		for _, item := range page.Items {
			out = append(out, item.Message.Data)
		}
		if !page.HasMore {
			return out
		}
		cursor = page.Next
	}
}
