package cluster

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// everything returns an app with all features on.
func everything(id string) *app.App {
	a := tenant(id)
	a.ClientEvents, a.ClientEventRate, a.UserAuth, a.Watchlist, a.SubscriptionCount = true, 1000, true, true, true
	return a
}

// get sends a GET to the signed HTTP API and decodes the answer.
func (n *node) get(t *testing.T, a *app.App, path string, into any) int {
	t.Helper()
	return n.request(t, a, http.MethodGet, path, "", into)
}

func (n *node) request(t *testing.T, a *app.App, method, path, body string, into any) int {
	t.Helper()
	return requestAt(t, n.Addr(), a, method, path, body, into)
}

func requestAt(t *testing.T, address string, a *app.App, method, path, body string, into any) int {
	t.Helper()
	status, text, err := send(address, a, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
	return status
}

// tryRequest sends a request to a gateway that may be dead.
func tryRequest(address string, a *app.App, method, path, body string) (int, error) {
	status, _, err := send(address, a, method, path, body)
	return status, err
}

// send signs a request and sends it.
func send(address string, a *app.App, method, path, body string) (int, []byte, error) {
	return sendAt(time.Now(), address, a, method, path, body)
}

// sendAt signs a request with a given time and sends it.
func sendAt(now time.Time, address string, a *app.App, method, path, body string) (int, []byte, error) {
	path, query, _ := strings.Cut(path, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return 0, nil, err
	}
	full := "/apps/" + a.ID + path
	params.Set("auth_key", a.Key)
	params.Set("auth_timestamp", strconv.FormatInt(now.Unix(), 10))
	params.Set("auth_version", "1.0")
	if body != "" {
		sum := md5.Sum([]byte(body))
		params.Set("body_md5", hex.EncodeToString(sum[:]))
	}
	params.Set("auth_signature", pusher.SignRequest(a.Secret.Reveal(), method, full, params))
	req, err := http.NewRequest(method, "http://"+address+full+"?"+params.Encode(), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// TestPresence covers the checklist lines about members, on three gateways and three NATS servers.
func TestPresence(t *testing.T) {
	t.Parallel()
	a := everything("app")
	a.Limits.MaxMembers = 100
	c := start(t, 3, settings{replicated: true, apps: []*app.App{a}})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster, *app.App)
	}{
		{"PR-01 PR-02 the hash and who is told", testJoin},
		{"PR-03 PR-04 PR-08 odd members", testOddMembers},
		{"PR-05 PR-06 PR-07 PR-09 several connections", testSeveralConnections},
		{"PR-10 PR-11 joining and leaving from two gateways", testAlternating},
		{"PR-13 the limit of members", testMemberLimit},
		{"PR-14 PR-15 what is refused", testRefusedMembers},
		{"PR-16 signed-in members", testSignedInMembers},
		{"PR-17 subscribing again", testAgain},
		{"CE-06 CE-01 client events carry the member", testMemberEvents},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c, a) })
	}
}

func testJoin(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-join"
	one := c.nodes[0].connect(t, a)
	h := hashOf(t, one.subscribe(channel, user("u1")))
	if fmt.Sprint(h.Presence.IDs) != "[u1]" || string(h.Presence.Hash["u1"]) != `{"name":"N u1"}` {
		t.Errorf("the first member got %+v", h)
	}
	two := c.nodes[1].connect(t, a)
	if h = hashOf(t, two.subscribe(channel, user("u2"))); h.Presence.Count != 2 {
		t.Errorf("the second member got %+v", h)
	}
	added := one.await("pusher_internal:member_added", channel)
	if added.str() != `{"user_id":"u2","user_info":{"name":"N u2"}}` {
		t.Errorf("added: %s", added.text)
	}
	two.usable()
	if got := two.all("pusher_internal:member_added", channel); len(got) > 0 {
		t.Errorf("the joiner was told of itself: %v", got)
	}
}

func testOddMembers(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-odd"
	watcher := c.nodes[2].connect(t, a)
	watcher.subscribe(channel, user("watcher"))
	plain := c.nodes[0].connect(t, a)
	h := hashOf(t, plain.subscribe(channel, ` {"user_id" : 17 }`))
	if string(h.Presence.Hash["17"]) != `{}` {
		t.Errorf("a number without info gave %+v", h)
	}
	if got := watcher.await("pusher_internal:member_added", channel); got.str() != `{"user_id":"17","user_info":{}}` {
		t.Errorf("added: %s", got.text)
	}
	second := c.nodes[1].connect(t, a)
	h = hashOf(t, second.subscribe(channel, `{"user_id":"17","user_info":{"other":true}}`))
	if string(h.Presence.Hash["17"]) != `{}` {
		t.Errorf("the second connection's info replaced the first's: %+v", h)
	}
}

func testSeveralConnections(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-several"
	watchers := []*peer{}
	for i, n := range c.nodes {
		w := n.connect(t, a)
		w.subscribe(channel, user(fmt.Sprint("w", i)))
		watchers = append(watchers, w)
	}
	converge(t, channel, []string{"w0", "w1", "w2"}, watchers...)
	one, two, three := c.nodes[0].connect(t, a), c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)
	for _, p := range []*peer{one, two, three} {
		p.subscribe(channel, user("u"))
	}
	one.unsubscribe(channel)
	two.close()
	three.close()
	converge(t, channel, []string{"w0", "w1", "w2"}, watchers...)
	for i, w := range watchers {
		eventually(t, "the user was seen to come and go", func() bool { return len(w.all("pusher_internal:member_removed", channel)) > 0 })
		n := 0
		for _, m := range w.all("pusher_internal:member_added", channel) {
			if strings.Contains(m.str(), `"u"`) {
				n++
			}
		}
		if removed := len(w.all("pusher_internal:member_removed", channel)); n != 1 || removed != 1 {
			t.Errorf("watcher %d saw %d added and %d removed", i, n, removed)
		}
	}
}

func testAlternating(t *testing.T, c *cluster, a *app.App) {
	const channel, rounds = "presence-alternating", 400
	watchers := []*peer{}
	for i, n := range c.nodes {
		w := n.connect(t, a)
		w.subscribe(channel, user(fmt.Sprint("w", i)))
		watchers = append(watchers, w)
	}
	// Members leave and join at the same time, where one member's leaving and another's joining may go
	// unseen...
	var running sync.WaitGroup
	for _, n := range c.nodes[:2] {
		p := n.connect(t, a)
		running.Go(func() {
			for range rounds {
				p.subscribe(channel, user("u"))
				p.unsubscribe(channel)
			}
			p.close()
		})
	}
	running.Wait()
	converge(t, channel, []string{"w0", "w1", "w2"}, watchers...)
	for _, n := range c.nodes[:2] {
		usersAre(t, n.Addr(), a, channel, []string{"w0", "w1", "w2"})
	}
	// All earlier notifications come before that of the marker.
	c.nodes[0].connect(t, a).subscribe(channel, user("marker"))
	converge(t, channel, []string{"marker", "w0", "w1", "w2"}, watchers...)
	// ... and one after the other, where they may not.
	before := len(watchers[2].all("pusher_internal:member_removed", channel))
	peers := []*peer{c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)}
	for i := range 200 {
		peers[i%2].subscribe(channel, user("u"))
		peers[i%2].unsubscribe(channel)
		watchers[2].awaitN("pusher_internal:member_removed", channel, before+i+1)
	}
	converge(t, channel, []string{"marker", "w0", "w1", "w2"}, watchers...)
	if n := len(watchers[2].all("pusher_internal:member_removed", channel)); n != before+200 {
		t.Errorf("the user was seen to leave %d times, want 200", n-before)
	}
}

func testMemberLimit(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-full"
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprint("u", i))
		c.nodes[i%3].connect(t, a).subscribe(channel, user(all[i]))
	}
	for _, n := range c.nodes {
		w := n.connect(t, a)
		w.subscribe(channel, user("u7"))
		converge(t, channel, all, w)
		p := n.connect(t, a)
		p.ask(channel, user("one too many"))
		if e := p.await("pusher:error", ""); !strings.Contains(e.text, `"code":4100`) {
			t.Errorf("got %s", e.text)
		}
		if e := p.await("pusher:subscription_error", channel); !strings.Contains(e.str(), `"status":403`) {
			t.Errorf("got %s", e.text)
		}
		p.usable()
	}
}

func testRefusedMembers(t *testing.T, c *cluster, a *app.App) {
	p := c.nodes[0].connect(t, a)
	long, info := strings.Repeat("ü", 129), strings.Repeat("x", 1024)
	for i, data := range []string{
		fmt.Sprintf(`{"user_id":%q}`, long), fmt.Sprintf(`{"user_id":"u","user_info":{"x":%q}}`, info),
		"", "not json", `{}`, `{"user_id":""}`, `{"user_id":null}`, `{"user_id":["u"]}`, `[]`, `"u"`, `{"user_id":true}`,
	} {
		channel := fmt.Sprint("presence-refused-", i)
		p.ask(channel, data)
		status := `"status":401`
		if i < 2 {
			status = `"status":403`
		}
		if e := p.await("pusher:subscription_error", channel); !strings.Contains(e.str(), status) {
			t.Errorf("%.60s: got %s", data, e.text)
		}
	}
	p.usable()
	p.subscribe("presence-refused-ok", fmt.Sprintf(`{"user_id":%q}`, strings.Repeat("ü", 128)))
}

func testSignedInMembers(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-signed-in"
	p := c.nodes[1].connect(t, a)
	p.signIn(`{"id":"boss","user_info":{"name":"B"}}`)
	h := hashOf(t, p.subscribe(channel, ""))
	if string(h.Presence.Hash["boss"]) != `{"name":"B"}` {
		t.Errorf("got %+v", h)
	}
}

func testAgain(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-again"
	one, two := c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)
	one.subscribe(channel, user("u1"))
	two.subscribe(channel, user("u2"))
	converge(t, channel, []string{"u1", "u2"}, one)
	h := hashOf(t, one.subscribe(channel, user("u1")))
	if h.Presence.Count != 2 {
		t.Errorf("got %+v", h)
	}
	two.usable()
	if got := two.all("pusher_internal:member_added", channel); len(got) > 0 {
		t.Errorf("subscribing again was told: %v", got)
	}
	one.unsubscribe(channel)
	converge(t, channel, []string{"u2"}, two)
}

func testMemberEvents(t *testing.T, c *cluster, a *app.App) {
	const channel = "presence-events"
	one, two := c.nodes[0].connect(t, a), c.nodes[2].connect(t, a)
	one.subscribe(channel, user("u1"))
	two.subscribe(channel, user("u2"))
	one.say(`{"event":"client-typing","channel":%q,"data":{"on":true}}`, channel)
	if m := two.await("client-typing", channel); m.UserID != "u1" || string(m.Data) != `{"on":true}` {
		t.Errorf("got %s", m.text)
	}
	one.usable()
	if got := one.all("client-typing", channel); len(got) > 0 {
		t.Errorf("the sender got its own event")
	}
}

func decodes(text []byte, into any) bool { return json.Unmarshal(text, into) == nil }
