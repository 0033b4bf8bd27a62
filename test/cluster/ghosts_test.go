package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// ghostAges is how long the table in these tests keeps entries that may expire.
const (
	ghostAges  = 2 * time.Second
	ghostLease = 15 * time.Second
	// ghostWatch is the time in which ghosts of a dead gateway could appear.
	ghostWatch = ghostLease + 5*time.Second
	ghostRoom  = "presence-ghosts"
)

// haunted has some gateways and the store of their log, which are killed after all expiring entries have
// expired.
type haunted struct {
	t        *testing.T
	rnd      *rand.Rand
	set      childSettings
	app      *app.App
	hooks    *hookLog
	gateways []*child

	// stay and left are users of one room. gone holds channels that were vacated.
	stay, left, gone []string
	peers            []*peer
	// forgetful is set if the store lost everything, also which webhooks were delivered. Then webhooks may be
	// delivered twice.
	forgetful bool
}

func haunt(t *testing.T, rnd *rand.Rand, gateways int, set childSettings) *haunted {
	t.Helper()
	h := &haunted{t: t, rnd: rnd, set: set, hooks: listenHooks(t)}
	h.set.App, h.set.Members, h.set.Hook, h.set.Lease, h.set.Ages = "app", 100, h.hooks.URL, ghostLease, ghostAges
	h.set.Tombstones, h.set.Linger = []int{2, 1000}[rnd.IntN(2)], ghostAges
	h.app = h.set.tenant()
	for range gateways {
		h.gateways = append(h.gateways, spawn(t, h.set))
	}
	return h
}

func (h *haunted) dial(gateway int) *peer {
	p := dialPeer(h.t, h.gateways[gateway].Addr(), h.app)
	h.peers = append(h.peers, p)
	return p
}

// live lets users come and go, and waits until the webhooks were delivered and the entries have expired.
func (h *haunted) live() {
	h.t.Helper()
	for i := range 6 {
		u := fmt.Sprint("stays", i)
		h.dial(h.rnd.IntN(len(h.gateways))).subscribe(ghostRoom, user(u))
		h.stay = append(h.stay, u)
	}
	for i := range 8 {
		u, channel := fmt.Sprint("left", i), fmt.Sprint("gone-", i)
		p := h.dial(h.rnd.IntN(len(h.gateways)))
		p.subscribe(ghostRoom, user(u))
		p.subscribe(channel, "")
		h.told("channel_occupied", channel, "")
		// The channel's count is written several times.
		for range h.rnd.IntN(3) {
			other := h.dial(h.rnd.IntN(len(h.gateways)))
			other.subscribe(channel, "")
			other.close()
		}
		p.close()
		h.left, h.gone = append(h.left, u), append(h.gone, channel)
	}
	for i := range h.left {
		h.told("member_removed", ghostRoom, h.left[i])
		h.told("channel_vacated", h.gone[i], "")
	}
	h.wait(9 * time.Second)
}

func (h *haunted) told(name, channel, user string) {
	h.t.Helper()
	eventually(h.t, name+" of "+channel+" "+user+" is told", func() bool { return h.hooks.count(name, channel, user) > 0 })
}

// wait lets time pass: there is no condition to poll for an entry that expires.
func (h *haunted) wait(d time.Duration) {
	h.t.Helper()
	began := time.Now()
	eventually(h.t, "time has passed", func() bool { return time.Since(began) > d })
}

// look asks a gateway for the members and the occupied channels. ok is false while that cannot be answered.
func (h *haunted) look(gateway int) (users, channels []string, ok bool) {
	address := h.gateways[gateway].Addr()
	var who struct{ Users []struct{ ID string } }
	var where struct{ Channels map[string]any }
	if !askInto(address, h.app, "/channels/"+ghostRoom+"/users", &who) || !askInto(address, h.app, "/channels", &where) {
		return nil, nil, false
	}
	for _, u := range who.Users {
		users = append(users, u.ID)
	}
	for channel := range where.Channels {
		channels = append(channels, channel)
	}
	slices.Sort(users)
	return users, channels, true
}

// check watches for longer than a lease: a member that left never comes back, and no webhook is repeated. If
// dead is set, the members were killed, and each leaves once.
func (h *haunted) check(dead bool) {
	h.t.Helper()
	want := h.stay
	if dead {
		want = nil
	}
	until := time.Now().Add(ghostWatch)
	eventually(h.t, "members are those that are there, for a while", func() bool {
		settled := true
		for i := range h.gateways {
			users, channels, ok := h.look(i)
			for _, u := range users {
				if slices.Contains(h.left, u) {
					h.t.Fatalf("%s is back, according to gateway %d", u, i)
				}
			}
			for _, c := range channels {
				if slices.Contains(h.gone, c) {
					h.t.Fatalf("%s is occupied, according to gateway %d", c, i)
				}
			}
			settled = settled && ok && slices.Equal(users, want)
		}
		return settled && time.Now().After(until)
	})
	once := func(name, channel, user string, want int) {
		if want > 0 {
			h.told(name, channel, user)
		}
		if n := h.hooks.count(name, channel, user); n < want || n > want && !h.forgetful {
			h.t.Errorf("%s of %s %s was told %d times instead of %d:\n%s",
				name, channel, user, n, want, strings.Join(h.hooks.about(channel), "\n"))
		}
	}
	for i := range h.left {
		once("member_added", ghostRoom, h.left[i], 1)
		once("member_removed", ghostRoom, h.left[i], 1)
		once("channel_occupied", h.gone[i], "", 1)
		once("channel_vacated", h.gone[i], "", 1)
	}
	ends := 0
	if dead {
		ends = 1
	}
	for _, u := range h.stay {
		once("member_removed", ghostRoom, u, ends)
		once("member_added", ghostRoom, u, 1)
	}
	once("channel_occupied", ghostRoom, "", 1)
	once("channel_vacated", ghostRoom, "", ends)
}

// killGateways kills all gateways with SIGKILL and closes their clients.
func (h *haunted) killGateways() {
	for _, g := range h.gateways {
		g.kill()
	}
	for _, p := range h.peers {
		p.close()
	}
}

func (h *haunted) startGateways() {
	for i := range h.gateways {
		h.gateways[i] = spawn(h.t, h.set)
	}
}

// TestTrust15NobodyComesBackAfterAKill waits until all expiring records have expired, kills with kill -9, and
// looks for members that had left and for repeated webhooks. Every story takes a while, so except in a long
// run a seed selects some of them.
func TestTrust15NobodyComesBackAfterAKill(t *testing.T) {
	fault.Seeds(t, 15, func(t *testing.T, rnd *rand.Rand) {
		chosen := []int{0}
		for _, i := range rnd.Perm(len(ghostStories)) {
			if i > 0 && (fault.Long() || len(chosen) < 3) {
				chosen = append(chosen, i)
			}
		}
		for _, i := range chosen {
			own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
			t.Run(ghostStories[i].name, func(t *testing.T) {
				t.Parallel()
				ghostStories[i].run(t, own)
			})
		}
	})
}

// ghostStories lists what is killed.
var ghostStories = []struct {
	name string
	run  func(*testing.T, *rand.Rand)
}{
	{"the embedded server", func(t *testing.T, rnd *rand.Rand) {
		h := haunt(t, rnd, 1, childSettings{Dir: t.TempDir()})
		h.live()
		h.killGateways()
		h.startGateways()
		h.check(true)
	}},
	{"the NATS server", func(t *testing.T, rnd *rand.Rand) {
		server := spawnNATS(t)
		h := haunt(t, rnd, 2, childSettings{URLs: []string{server.url()}, Replicas: 1})
		h.live()
		server.kill()
		server.start()
		h.check(false)
	}},
	{"all gateways for longer than a lease", func(t *testing.T, rnd *rand.Rand) {
		server := spawnNATS(t)
		h := haunt(t, rnd, 2, childSettings{URLs: []string{server.url()}, Replicas: 1})
		h.live()
		h.killGateways()
		h.wait(ghostWatch)
		h.startGateways()
		h.check(true)
	}},
	{"everything", func(t *testing.T, rnd *rand.Rand) {
		server := spawnNATS(t)
		h := haunt(t, rnd, 2, childSettings{URLs: []string{server.url()}, Replicas: 1})
		h.live()
		h.killGateways()
		server.kill()
		server.start()
		h.wait(ghostWatch)
		h.startGateways()
		h.check(true)
	}},
	{"the NATS server after a burial", func(t *testing.T, rnd *rand.Rand) {
		server := spawnNATS(t)
		h := haunt(t, rnd, 2, childSettings{URLs: []string{server.url()}, Replicas: 1})
		h.live()
		h.bury()
		server.kill()
		server.start()
		h.check(false)
	}},
	{"three NATS servers", func(t *testing.T, rnd *rand.Rand) {
		servers := spawnNATSCluster(t, clock{}, clock{}, clock{})
		h := haunt(t, rnd, 2, childSettings{URLs: urlsOf(servers)})
		h.live()
		for _, s := range servers {
			s.kill()
		}
		for _, s := range servers {
			s.run()
		}
		for _, s := range servers {
			s.answers()
		}
		h.check(false)
	}},
	{"a replica that is rebuilt and leads", func(t *testing.T, rnd *rand.Rand) {
		servers := spawnNATSCluster(t, clock{}, clock{}, clock{})
		h := haunt(t, rnd, 2, childSettings{URLs: urlsOf(servers)})
		h.live()
		h.bury()
		victim := servers[rnd.IntN(3)]
		victim.kill()
		if err := os.RemoveAll(victim.set.Dir); err != nil {
			t.Fatal(err)
		}
		victim.start()
		lead(t, servers, victim)
		h.check(false)
	}},
	{"Redis with its file", func(t *testing.T, rnd *rand.Rand) {
		server := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		h := haunt(t, rnd, 2, childSettings{Redis: server.URL()})
		h.live()
		h.bury()
		server.Kill()
		server.Restart()
		h.check(false)
	}},
	{"Redis without a file", func(t *testing.T, rnd *rand.Rand) {
		server := redisserver.Start(t)
		h := haunt(t, rnd, 2, childSettings{Redis: server.URL()})
		h.live()
		server.Kill()
		server.Restart()
		h.forgetful = true
		// The log has a new epoch, which closes all connections.
		h.check(true)
	}},
	{"Redis with its file and all gateways", func(t *testing.T, rnd *rand.Rand) {
		server := redisserver.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		h := haunt(t, rnd, 2, childSettings{Redis: server.URL()})
		h.live()
		h.killGateways()
		server.Kill()
		server.Restart()
		h.wait(ghostWatch)
		h.startGateways()
		h.check(true)
	}},
}

// bury adds a gateway with several subscribers per channel, kills it, and waits until its members are gone
// and the expiring entries have expired.
func (h *haunted) bury() {
	h.t.Helper()
	h.gateways = append(h.gateways, spawn(h.t, h.set))
	last := len(h.gateways) - 1
	for i := range 3 {
		channel, u := fmt.Sprint("buried-", i), fmt.Sprint("buried", i)
		for range 3 {
			p := h.dial(last)
			p.subscribe(channel, "")
			p.subscribe(ghostRoom, user(u))
		}
		h.told("member_added", ghostRoom, u)
		h.told("channel_occupied", channel, "")
		h.left, h.gone = append(h.left, u), append(h.gone, channel)
	}
	h.wait(9 * time.Second)
	h.gateways[last].kill()
	h.gateways = h.gateways[:last]
	for i := range 3 {
		h.told("member_removed", ghostRoom, fmt.Sprint("buried", i))
		h.told("channel_vacated", fmt.Sprint("buried-", i), "")
	}
	h.wait(2 * ghostAges)
}

// lead makes a server the leader of all streams that other servers lead.
func lead(t *testing.T, servers []*natsChild, leader *natsChild) {
	t.Helper()
	nc, err := nats.Connect(strings.Join(urlsOf(servers), ","), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rebuilt server leads the table", func() bool {
		s, err := js.Stream(t.Context(), "KV_cluster")
		if err != nil {
			return false
		}
		info := s.CachedInfo()
		if info.Cluster == nil || info.Cluster.Leader == leader.set.Name {
			return info.Cluster != nil
		}
		for _, r := range info.Cluster.Replicas {
			if r.Name == leader.set.Name && r.Current {
				body := fmt.Sprintf(`{"placement":{"preferred":%q}}`, leader.set.Name)
				_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_cluster", []byte(body), time.Second)
			}
		}
		return false
	})
}

// askInto sends a GET to the HTTP API of a gateway that may be dead, decodes the answer, and reports whether
// that succeeded.
func askInto(address string, a *app.App, path string, into any) bool {
	status, text, err := send(address, a, http.MethodGet, path, "")
	return err == nil && status == http.StatusOK && decodes(text, into)
}
