package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// pair has two gateway processes on one NATS server.
type pair struct {
	t        *testing.T
	nats     *natsChild
	gateways []*child
	app      *app.App
	n        int
}

func startPair(t *testing.T) *pair {
	p := &pair{t: t, nats: spawnNATS(t)}
	set := childSettings{URLs: []string{p.nats.url()}, App: "app", Members: 100, Lease: 15 * time.Second, Replicas: 1}
	p.app = set.tenant()
	p.gateways = []*child{spawn(t, set), spawn(t, set)}
	return p
}

// publish publishes n events, each until it is acknowledged.
func (p *pair) publish(rnd *rand.Rand, n int) {
	p.t.Helper()
	for range n {
		p.n++
		body := fmt.Sprintf(`{"name":"tick","channel":"restored","data":"%d"}`, p.n)
		eventually(p.t, "an event is acknowledged", func() bool {
			status, err := tryRequest(p.gateways[rnd.IntN(2)].Addr(), p.app, http.MethodPost, "/events", body)
			return err == nil && status == http.StatusOK
		})
	}
}

func (p *pair) ready() {
	p.t.Helper()
	for i, g := range p.gateways {
		eventually(p.t, fmt.Sprint("gateway ", i, " is ready"), func() bool {
			resp, err := http.Get("http://" + g.Addr() + "/ready")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return resp.StatusCode == http.StatusOK
		})
	}
}

// history returns the epoch and the data of all events from a gateway.
func (p *pair) history(gateway int) (epoch string, data []string) {
	p.t.Helper()
	var got struct {
		Items []struct {
			StreamID string `json:"stream_id"`
			Message  json.RawMessage
		}
	}
	if status := requestAt(p.t, p.gateways[gateway].Addr(), p.app, http.MethodGet, "/channels/restored/history?limit=1000&direction=oldest_first", "", &got); status != http.StatusOK {
		p.t.Fatalf("history answered %d", status)
	}
	for _, item := range got.Items {
		var m struct{ Data string }
		if err := json.Unmarshal(item.Message, &m); err != nil {
			p.t.Fatal(err)
		}
		epoch, data = item.StreamID, append(data, m.Data)
	}
	return epoch, data
}

// restoredTexts returns the data of the events that a peer saw.
func restoredTexts(w *peer) (out []string) {
	for _, m := range w.all("tick", "restored") {
		out = append(out, m.str())
	}
	return out
}

func (c *natsChild) swapDir(dir string) (old string) {
	old, c.set.Dir = c.set.Dir, dir
	return old
}

// TestR12RestoredServerTellsEverybody kills the NATS server and restarts it with an older state of its disk:
// the log, the members, and everything that gateways store. Events acknowledged since that state are gone.
// Every subscriber is told, the members are the connected ones, and further events have another epoch.
func TestR12RestoredServerTellsEverybody(t *testing.T) {
	fault.Seeds(t, 12, func(t *testing.T, rnd *rand.Rand) {
		p := startPair(t)
		const room = "presence-restored"
		join := func(gateway int, name string) *peer {
			w := dialPeer(t, p.gateways[gateway].Addr(), p.app)
			w.subscribe(room, user(name))
			return w
		}
		watchers := []*peer{dialPeer(t, p.gateways[0].Addr(), p.app), dialPeer(t, p.gateways[1].Addr(), p.app)}
		for _, w := range watchers {
			w.subscribe("restored", "")
		}
		leaver, stayer := join(0, "leaver"), join(1, "stayer")
		p.publish(rnd, 5+rnd.IntN(20))
		saved := p.n
		p.nats.kill()
		copied := filepath.Join(t.TempDir(), "copied")
		if err := os.CopyFS(copied, os.DirFS(p.nats.set.Dir)); err != nil {
			t.Fatal(err)
		}
		p.nats.start()
		p.ready()
		leaver.close()
		comer := join(0, "comer")
		converge(t, room, []string{"comer", "stayer"}, stayer, comer)
		p.publish(rnd, 1+rnd.IntN(20))
		for i, w := range watchers {
			eventually(t, fmt.Sprintf("watcher %d has all events", i), func() bool { return len(restoredTexts(w)) == p.n })
		}
		before, _ := p.history(0)
		p.nats.kill()
		p.nats.swapDir(copied)
		p.nats.start()
		for i, w := range append(watchers, comer, stayer) {
			if code := w.closed(); code != 4200 {
				t.Errorf("watcher %d was closed with %d", i, code)
			}
		}
		p.ready()
		lost := p.n
		var again []*peer
		for _, g := range p.gateways {
			w := dialPeer(t, g.Addr(), p.app)
			w.subscribe("restored", "")
			again = append(again, w)
		}
		members := []*peer{join(0, "comer"), join(1, "stayer")}
		p.publish(rnd, 10)
		var want []string
		for i := range p.n {
			if i < saved || i >= lost {
				want = append(want, fmt.Sprint(i+1))
			}
		}
		for i, w := range again {
			epoch, log := p.history(i)
			if epoch == before || !slices.Equal(log, want) {
				t.Errorf("the log of epoch %s (before: %s) has %v, want %v", epoch, before, log, want)
			}
			eventually(t, "what was published since has come", func() bool { return slices.Equal(restoredTexts(w), want[saved:]) })
			usersAre(t, p.gateways[i].Addr(), p.app, room, []string{"comer", "stayer"})
		}
		converge(t, room, []string{"comer", "stayer"}, members...)
	})
}

// TestEverythingDeletedIsMadeAnew deletes what gateways keep in NATS, one after the other and then all of it.
// Gateways recreate it, log that, and go on.
func TestEverythingDeletedIsMadeAnew(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	const room = "presence-deleted"
	member := dialPeer(t, p.gateways[1].Addr(), p.app)
	member.subscribe("restored", "")
	nc, err := nats.Connect(p.nats.url(), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"KV_cluster", "KV_sluice_epochs", streams.StreamOf(p.app.ID)}
	for i, which := range [][]string{all[:1], all[1:2], all} {
		stay := dialPeer(t, p.gateways[0].Addr(), p.app)
		stay.subscribe(room, user("stays"))
		for _, name := range which {
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range which {
			eventually(t, name+" is there again", func() bool { _, err := js.Stream(t.Context(), name); return err == nil })
		}
		p.ready()
		if len(which) == len(all) {
			// The log has a new epoch, so all clients are closed and reconnect.
			for _, p := range []*peer{stay, member} {
				if code := p.closed(); code != 4200 {
					t.Errorf("closed with %d", code)
				}
			}
			stay = dialPeer(t, p.gateways[0].Addr(), p.app)
			stay.subscribe(room, user("stays"))
		}
		comer := dialPeer(t, p.gateways[1].Addr(), p.app)
		comer.subscribe(room, user(fmt.Sprint("comer", i)))
		converge(t, room, []string{fmt.Sprint("comer", i), "stays"}, comer)
		for _, g := range p.gateways {
			usersAre(t, g.Addr(), p.app, room, []string{fmt.Sprint("comer", i), "stays"})
		}
		p.publish(rnd, 3)
		stay.close()
		comer.close()
		for _, g := range p.gateways {
			usersAre(t, g.Addr(), p.app, room, nil)
		}
	}
}
