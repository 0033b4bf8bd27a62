package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/fault"
)

const (
	hostileMessages = 2000
	// trustEach is the number of ordinary events per gateway and channel, trustSaid the number of client
	// events per member.
	trustEach, trustSaid = 40, 20
)

var trustChannels = []string{"plain", "private-p", "cache-c", "presence-r"}

// TestTrustHostilePublisher: a publisher with the role of docker-compose.yml sends arbitrary messages into
// other publishers' channels, while ordinary events go through them. No subscriber is affected, and gateways
// start over the stored messages.
func TestTrustHostilePublisher(t *testing.T) { fault.Seeds(t, 41, hostilePublisher) }

func hostilePublisher(t *testing.T, rnd *rand.Rand) {
	a := everything("4711")
	c := start(t, 3, settings{compose: true, apps: []*app.App{a}})
	epoch := historyOf(t, c.nodes[0], a, "plain").epoch
	w := watchAll(t, c, a)
	h := &hostile{t: t, rnd: rnd, address: c.nats.urls()[rnd.IntN(3)], app: a.ID, channels: trustChannels, victims: []string{"u0", "u1", "u2"}}
	for _, p := range w.peers {
		h.sockets = append(h.sockets, p.id)
	}
	h.login()
	ordinary := len(c.nodes) * (len(trustChannels)*trustEach + trustSaid)
	steps := make(chan struct{}, ordinary)
	var attacking sync.WaitGroup
	attacking.Go(func() {
		sent := 0
		for range steps {
			for range (hostileMessages + ordinary - 1) / ordinary {
				h.publish()
				sent++
			}
		}
		for ; sent < hostileMessages; sent++ {
			h.publish()
		}
		h.leave()
	})
	w.publishOrdinary(steps)
	close(steps)
	attacking.Wait()
	w.awaitOrdinary("o-")
	w.undisturbed(h)
	for _, n := range c.nodes {
		if text := n.ready(t); !contains(text, `"ready":true`) {
			t.Errorf("not ready: %s", text)
		}
	}
	w.checkHistory(c.nodes[rnd.IntN(3)])
	for _, n := range c.nodes {
		if got := historyOf(t, n, a, "plain").epoch; got != epoch {
			t.Errorf("the log began a new life: %s, was %s", got, epoch)
		}
		if gaps := n.value("gaps_total"); gaps > 0 {
			t.Errorf("%v gaps", gaps)
		}
	}
	odd := -ordinary
	for _, channel := range trustChannels {
		odd += len(historyOf(t, c.nodes[0], a, channel).data)
	}
	if odd < hostileMessages/5 {
		t.Errorf("only %d hostile messages were stored in the channels", odd)
	}
	t.Logf("%d hostile messages were stored in the channels, %d connections lost", odd, h.redials)
	w.leave()
	// All gateways stop, and start again over the stored messages.
	for _, n := range c.nodes {
		n.close(t)
	}
	c.nodes = nil
	for range 3 {
		c.join()
	}
	late := watchAll(t, c, a)
	late.prefix = "late-"
	late.publishOrdinary(nil)
	late.awaitOrdinary("late-")
	late.undisturbed(h)
	w.checkHistory(c.nodes[0])
	late.leave()
}

// trusting has subscribers of all channels on all gateways, and the events they must get.
type trusting struct {
	t       *testing.T
	cluster *cluster
	app     *app.App
	peers   []*peer
	sockets []*socket
	prefix  string
}

func watchAll(t *testing.T, c *cluster, a *app.App) *trusting {
	t.Helper()
	w := &trusting{t: t, cluster: c, app: a, prefix: "o-"}
	for i, n := range c.nodes {
		p := n.connect(t, a)
		p.signIn(fmt.Sprintf(`{"id":"u%d"}`, i))
		for _, channel := range trustChannels {
			data := ""
			if strings.HasPrefix(channel, "presence-") {
				data = user(fmt.Sprint("u", i))
			}
			p.subscribe(channel, data)
		}
		w.peers = append(w.peers, p)
		s := dialSocket(t, n, a, pusher.V2)
		s.say("subscribe", `{"channel":"plain","delta":"fossil"}`)
		s.say("subscribe", `{"channel":"cache-c","delta":"fossil"}`)
		eventually(t, "both channels are subscribed", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.sessions) == 2
		})
		w.sockets = append(w.sockets, s)
	}
	return w
}

func (w *trusting) id(gateway, n int, channel string) string {
	return fmt.Sprintf("%s%d-%s-%d", w.prefix, gateway, channel, n)
}

// publishOrdinary publishes through all gateways and has all members send client events. It sends to steps
// before each event, unless steps is nil.
func (w *trusting) publishOrdinary(steps chan<- struct{}) {
	w.t.Helper()
	step := func() {
		if steps != nil {
			steps <- struct{}{}
		}
	}
	var running sync.WaitGroup
	for i, n := range w.cluster.nodes {
		signed := n.sign(w.t, w.app)
		running.Go(func() {
			for k := range trustEach {
				for _, channel := range trustChannels {
					publish(w.t, signed, channel, fmt.Sprintf(`{"id":%q,"note":%q}`, w.id(i, k, channel), strings.Repeat("steady ", 30)))
					step()
				}
			}
		})
		running.Go(func() {
			for k := range trustSaid {
				w.peers[i].say(`{"event":"client-say","channel":"presence-r","data":{"id":%q}}`, w.id(i, k, "said"))
				step()
			}
		})
	}
	running.Wait()
}

// ordinaryIDs returns the ids of the ordinary events in data.
func ordinaryIDs(prefix string, data []string) []string {
	var out []string
	for _, text := range data {
		var d struct{ ID string }
		if json.Unmarshal([]byte(text), &d) == nil && strings.HasPrefix(d.ID, prefix) {
			out = append(out, d.ID)
		}
	}
	return out
}

// wanted returns the ids of a channel's events with their index per source. Except for a socket's own client
// events, all subscribers must get them, in the same order everywhere.
func (w *trusting) wanted(channel string, but int) map[string]int {
	out := map[string]int{}
	for i := range w.cluster.nodes {
		for k := range trustEach {
			out[w.id(i, k, channel)] = k
		}
		if channel == "presence-r" && i != but {
			for k := range trustSaid {
				out[w.id(i, k, "said")] = k
			}
		}
	}
	return out
}

// check compares the received ids with the wanted ones: each once, those of one source in order.
func (w *trusting) check(who string, got []string, want map[string]int) {
	w.t.Helper()
	seen, next := map[string]bool{}, map[string]int{}
	for _, id := range got {
		k, known := want[id]
		source := id[:strings.LastIndexByte(id, '-')]
		if !known || seen[id] || k != next[source] {
			w.t.Fatalf("%s: %s came, seen before: %t, due of its source: %d", who, id, seen[id], next[source])
		}
		seen[id], next[source] = true, k+1
	}
	if len(got) != len(want) {
		w.t.Errorf("%s: %d events, want %d", who, len(got), len(want))
	}
}

func (p *peer) dataOf(channel string) (out []string) {
	for _, m := range p.all("", channel) {
		out = append(out, m.str())
	}
	return out
}

func (s *socket) dataOf(channel string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.sessions {
		if at.channel == channel {
			for _, e := range at.got {
				out = append(out, e.data)
			}
		}
	}
	return out
}

func (w *trusting) awaitOrdinary(prefix string) {
	w.t.Helper()
	for _, channel := range trustChannels {
		var first []string
		for i, p := range w.peers {
			want := w.wanted(channel, i)
			eventually(w.t, fmt.Sprintf("client %d has all of %s", i, channel), func() bool {
				return len(ordinaryIDs(prefix, p.dataOf(channel))) >= len(want)
			})
			got := ordinaryIDs(prefix, p.dataOf(channel))
			w.check(fmt.Sprintf("client %d, %s", i, channel), got, want)
			if channel == "presence-r" {
				continue
			}
			if first == nil {
				first = got
			}
			if !slices.Equal(got, first) {
				w.t.Errorf("client %d has another order in %s than client 0", i, channel)
			}
		}
		if channel != "plain" && channel != "cache-c" {
			continue
		}
		for i, s := range w.sockets {
			eventually(w.t, fmt.Sprintf("socket %d has all of %s", i, channel), func() bool {
				return len(ordinaryIDs(prefix, s.dataOf(channel))) >= len(first)
			})
			if got := ordinaryIDs(prefix, s.dataOf(channel)); !slices.Equal(got, first) {
				w.t.Errorf("socket %d has another order in %s than client 0", i, channel)
			}
		}
	}
}

// undisturbed checks that no client was closed, or got an event that only the server or a member may send.
func (w *trusting) undisturbed(h *hostile) {
	w.t.Helper()
	for i, p := range w.peers {
		select {
		case <-p.done:
			w.t.Errorf("client %d was closed with %d", i, p.closed())
			continue
		default:
		}
		p.usable()
		for _, m := range p.all("", "") {
			said := len(ordinaryIDs(w.prefix, []string{m.str()})) > 0
			switch {
			case m.UserID != "" && !said:
				w.t.Errorf("client %d was told that %s said %s", i, m.UserID, m.text)
			case m.Event == "client-say" && said && m.UserID != "u"+strings.Split(m.str(), "-")[1]:
				w.t.Errorf("client %d was told that %s said %s", i, m.UserID, m.text)
			case strings.HasPrefix(m.Event, "pusher:error"), slices.Contains([]string{"pusher_internal:member_removed", "sockudo_internal:member_removed"}, m.Event) && !contains(m.str(), "user_id"):
				w.t.Errorf("client %d was told %s", i, m.text)
			}
		}
	}
	for i, s := range w.sockets {
		if s.ended() {
			w.t.Errorf("socket %d was closed with %d", i, s.closed)
		}
		s.mu.Lock()
		if len(s.errs) > 0 || len(s.sessions) != 2 {
			w.t.Errorf("socket %d: %d subscriptions, %v", i, len(s.sessions), s.errs)
		}
		s.mu.Unlock()
	}
}

func (w *trusting) leave() {
	for _, p := range w.peers {
		p.close()
	}
	for _, s := range w.sockets {
		s.close()
	}
}

// checkHistory reads all channels through the HTTP API and checks them.
func (w *trusting) checkHistory(n *node) {
	w.t.Helper()
	for _, channel := range trustChannels {
		got := historyOf(w.t, n, w.app, channel)
		w.check("history of "+channel, ordinaryIDs(w.prefix, got.data), w.wanted(channel, -1))
		for i := 1; i < len(got.serials); i++ {
			if got.serials[i] <= got.serials[i-1] {
				w.t.Fatalf("history of %s: serial %d follows %d", channel, got.serials[i], got.serials[i-1])
			}
		}
	}
}

// read is the history of a channel from the HTTP API.
type read struct {
	epoch   string
	data    []string
	serials []uint64
}

func historyOf(t *testing.T, n *node, a *app.App, channel string) (out read) {
	t.Helper()
	for cursor := ""; ; {
		var got struct {
			Items []struct {
				Serial  uint64
				Message json.RawMessage
			}
			Next       *string `json:"next_cursor"`
			Continuity struct {
				StreamID string `json:"stream_id"`
			}
		}
		path := "/channels/" + channel + "/history?limit=1000&direction=oldest_first" + cursor
		if status := n.request(t, a, http.MethodGet, path, "", &got); status != http.StatusOK {
			t.Fatalf("history of %s answered %d", channel, status)
		}
		out.epoch = got.Continuity.StreamID
		for _, item := range got.Items {
			var m struct{ Data string }
			_ = json.Unmarshal(item.Message, &m)
			out.data, out.serials = append(out.data, m.Data), append(out.serials, item.Serial)
		}
		if got.Next == nil {
			return out
		}
		cursor = "&cursor=" + url.QueryEscape(*got.Next)
	}
}
