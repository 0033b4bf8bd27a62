package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
)

// hookLog is a webhook receiver that counts the webhooks it gets.
type hookLog struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string]int // by name and user
	// order holds them in the order of arrival.
	order []string
	// texts holds the requests with their times of arrival.
	texts []string
}

func listenHooks(t *testing.T) *hookLog {
	l := &hookLog{got: map[string]int{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var body struct {
			Events []struct {
				Name, Channel string
				UserID        string `json:"user_id"`
			}
		}
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("webhook %s: %v", b, err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.texts = append(l.texts, time.Now().Format(time.StampMilli)+" "+string(b))
		for _, e := range body.Events {
			what := e.Name + " " + e.Channel + " " + e.UserID
			l.got[what]++
			l.order = append(l.order, what)
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// about returns the requests that name a channel.
func (l *hookLog) about(channel string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.texts {
		if strings.Contains(text, `"`+channel+`"`) {
			out = append(out, text)
		}
	}
	return out
}

func (l *hookLog) count(name, channel, user string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got[name+" "+channel+" "+user]
}

// TestPR12KilledGateway kills one of three gateways that holds 500 members while members join and leave on
// the others, and restarts the NATS servers afterwards.
func TestPR12KilledGateway(t *testing.T) {
	fault.Seeds(t, 12, killGateway)
}

func killGateway(t *testing.T, rnd *rand.Rand) {
	const channel, members, lease = "presence-kill", 500, 15 * time.Second
	nats := startNATS(t)
	hooks := listenHooks(t)
	set := childSettings{URLs: nats.urls(), App: "app", Members: 2000, Hook: hooks.URL, Lease: lease}
	a := set.tenant()
	victim := spawn(t, set)
	others := []*child{spawn(t, set), spawn(t, set)}

	var watchers []*peer
	want := map[string]bool{}
	for i, c := range others {
		for k := range 3 {
			u := fmt.Sprint("watcher-", i, k)
			w := dialPeer(t, c.Addr(), a)
			w.subscribe(channel, user(u))
			watchers = append(watchers, w)
			want[u] = true
		}
	}
	// These are the members of the victim; some of them are connected to another gateway, too.
	lost := map[string]bool{}
	var joining sync.WaitGroup
	for part := range 10 {
		joining.Go(func() {
			for i := part; i < members; i += 10 {
				dialPeer(t, victim.Addr(), a).subscribe(channel, user(fmt.Sprint("u", i)))
			}
		})
	}
	joining.Wait()
	for i := range members {
		u := fmt.Sprint("u", i)
		if rnd.IntN(10) == 0 {
			dialPeer(t, others[rnd.IntN(2)].Addr(), a).subscribe(channel, user(u))
			want[u] = true
		} else {
			lost[u] = true
		}
	}
	everyone := keys(want)
	for u := range lost {
		everyone = append(everyone, u)
	}
	converge(t, channel, everyone, watchers...)

	// Other members come and go while the victim dies.
	var churn sync.WaitGroup
	stay := make([]bool, 40)
	for i := range stay {
		stay[i] = rnd.IntN(2) == 0
	}
	started := make(chan struct{}, len(stay))
	for i := range stay {
		churn.Go(func() {
			u := fmt.Sprint("churn", i)
			p := dialPeer(t, others[i%2].Addr(), a)
			for round := range 8 {
				p.subscribe(channel, user(u))
				if round == 2 {
					started <- struct{}{}
				}
				p.unsubscribe(channel)
			}
			if stay[i] {
				p.subscribe(channel, user(u))
			}
		})
		if stay[i] {
			want[fmt.Sprint("churn", i)] = true
		}
	}
	for range rnd.IntN(len(stay)) + 1 {
		select {
		case <-started:
		case <-time.After(patience):
			t.Fatal("members do not come and go")
		}
	}
	killed := time.Now()
	victim.kill()
	churn.Wait()
	converge(t, channel, keys(want), watchers...)
	t.Logf("%d members of the dead gateway left after %v (lease %v)", len(lost), time.Since(killed).Round(10*time.Millisecond), lease)
	for i, w := range watchers {
		removed := map[string]int{}
		for _, m := range w.all("pusher_internal:member_removed", channel) {
			var d struct {
				ID string `json:"user_id"`
			}
			_ = json.Unmarshal([]byte(m.str()), &d)
			removed[d.ID]++
		}
		for u := range lost {
			if removed[u] != 1 {
				t.Errorf("watcher %d saw %s leave %d times", i, u, removed[u])
			}
		}
		for u := range want {
			if removed[u] > 0 && u[0] == 'u' {
				t.Errorf("watcher %d saw %s leave, who is still here", i, u)
			}
		}
	}
	for _, c := range others {
		usersAre(t, c.Addr(), a, channel, keys(want))
	}
	for u := range lost {
		eventually(t, "the webhook of "+u, func() bool { return hooks.count("member_removed", channel, u) >= 1 })
	}
	// Webhooks that the dead gateway had delivered but not recorded as delivered are sent again: at most one
	// request per lane.
	again := 0
	for u := range lost {
		in, out := hooks.count("member_added", channel, u), hooks.count("member_removed", channel, u)
		if in < 1 || out != 1 {
			t.Errorf("%s: %d webhooks of coming and %d of going", u, in, out)
		}
		again += in - 1
	}
	if again > 8 {
		t.Errorf("%d webhooks came twice", again)
	}

	// No ghosts appear after the servers were away.
	for i := range 3 {
		nats.stop(i)
	}
	for i := range 3 {
		nats.run(i)
	}
	nats.settle(3)
	newcomer := spawn(t, set)
	w := dialPeer(t, newcomer.Addr(), a)
	eventually(t, "a new gateway lets members in", func() bool {
		w.ask(channel, user("newcomer"))
		w.usable()
		return len(w.all("pusher_internal:subscription_succeeded", channel)) > 0
	})
	want["newcomer"] = true
	converge(t, channel, keys(want), append(watchers, w)...)
	usersAre(t, newcomer.Addr(), a, channel, keys(want))
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// usersAre waits until the HTTP API of a gateway lists exactly these users.
func usersAre(t *testing.T, address string, a *app.App, channel string, want []string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, "the HTTP API of "+address+" has the users", func() bool {
		var got struct{ Users []struct{ ID string } }
		if requestAt(t, address, a, http.MethodGet, "/channels/"+channel+"/users", "", &got) != http.StatusOK {
			return false
		}
		var ids []string
		for _, u := range got.Users {
			ids = append(ids, u.ID)
		}
		return slices.Equal(ids, want)
	})
}
