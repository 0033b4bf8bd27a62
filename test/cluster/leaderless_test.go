package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
)

// door is one way to request something from a gateway that needs the log or the table. ask waits for the
// answer, and returns an error if it is wrong.
type door struct {
	name string
	ask  func() error
}

// TestTrustDoorsWaitForALeader: two of three NATS servers die, so the log and the table have no leader, and
// at once requests arrive at each door of a gateway. None is refused as unavailable: each is answered when
// the servers are back.
func TestTrustDoorsWaitForALeader(t *testing.T) {
	t.Parallel()
	servers := spawnNATSCluster(t, clock{}, clock{}, clock{})
	a := everything("app")
	a.Rewind = true
	a.Recovery.Enabled, a.Recovery.MaxEvents, a.Recovery.MaxBytes = true, 1000, 1<<20
	c := start(t, 2, settings{servers: servers, apps: []*app.App{a}, options: func(o *streams.Options) { o.PublishTimeout = patience }})
	here, there := c.nodes[0], c.nodes[1]
	there.connect(t, a).subscribe("presence-far", user("far"))
	s := here.sign(t, a)
	for i := range 3 {
		for _, channel := range []string{"plain", "cache-c", "presence-far", "first", "second", "third", "fourth"} {
			publish(t, s, channel, fmt.Sprint(i))
		}
	}
	var page struct {
		Items []struct{ Serial uint64 }
		Next  string `json:"next_cursor"`

		Continuity struct {
			StreamID string `json:"stream_id"`
		}
	}
	if status := here.get(t, a, "/channels/plain/history?limit=2&direction=oldest_first", &page); status != http.StatusOK || page.Next == "" {
		t.Fatalf("got %d %+v", status, page)
	}
	doors := append(requests(here, a, page.Next), sockets(t, here, a, page.Continuity.StreamID, page.Items[0].Serial)...)
	doors = append(doors, readers(t, here, a, page.Continuity.StreamID, page.Items[0].Serial)...)

	killLeaders(t, servers, streams.StreamOf(a.ID), "KV_cluster")
	errs := make([]error, len(doors))
	var asking sync.WaitGroup
	for i, d := range doors {
		asking.Go(func() { errs[i] = d.ask() })
	}
	for _, child := range servers {
		child.answers()
	}
	asking.Wait()
	for i, d := range doors {
		if errs[i] != nil {
			t.Errorf("%s: %v", d.name, errs[i])
		}
	}
}

// killLeaders kills two servers, among them the leaders of the named streams, and begins to restart them. The
// remaining server can lead nothing meanwhile.
func killLeaders(t *testing.T, servers []*natsChild, names ...string) {
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
	leads := map[string]bool{}
	for _, name := range names {
		eventually(t, name+" has a leader", func() bool {
			s, err := js.Stream(t.Context(), name)
			if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
				return false
			}
			leads[s.CachedInfo().Cluster.Leader] = true
			return true
		})
	}
	var victims []*natsChild
	for _, want := range []bool{true, false} {
		for _, child := range servers {
			if leads[child.set.Name] == want && len(victims) < 2 {
				victims = append(victims, child)
			}
		}
	}
	for _, child := range victims {
		child.kill()
	}
	for _, child := range victims {
		child.run()
	}
}

// requests returns the reading requests of the signed HTTP API. The channels have no subscribers here.
func requests(n *node, a *app.App, cursor string) (out []door) {
	for _, path := range []string{
		"/channels/plain/history", "/channels/plain/history?direction=oldest_first&limit=2", "/channels/plain/history?start_time_ms=1",
		"/channels/plain/history?direction=oldest_first&limit=2&cursor=" + url.QueryEscape(cursor), "/channels/plain/history?format=ndjson",
		"/channels/plain/history/state", "/history", "/channels", "/channels?info=subscription_count", "/channels/cache-c?info=cache",
		"/channels/plain?info=subscription_count", "/channels/presence-far/users", "/channels/presence-far?info=user_count",
	} {
		out = append(out, door{"GET " + path, func() error {
			status, text, err := send(n.Addr(), a, http.MethodGet, path, "")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("got %d %s", status, text)
			}
			return err
		}})
	}
	return out
}

// sockets returns connections that are open already and then subscribe, each to a channel without subscribers
// on this gateway.
func sockets(t *testing.T, n *node, a *app.App, stream string, serial uint64) (out []door) {
	add := func(name, event, channel string, protocol int, say func(*peer)) {
		p := dialProtocol(t, n.Addr(), a, protocol)
		established := p.await(map[int]string{2: "sockudo:", 7: "pusher:"}[protocol]+"connection_established", "")
		var d struct {
			SocketID string `json:"socket_id"`
		}
		_ = json.Unmarshal([]byte(established.str()), &d)
		p.id = d.SocketID
		out = append(out, door{name, func() error {
			say(p)
			var wrong []message
			eventually(t, name+" is answered", func() bool {
				wrong = append(p.all("pusher:subscription_error", ""), p.all("sockudo:subscription_error", "")...)
				wrong = append(append(wrong, p.all("sockudo:resume_failed", "")...), p.all("sockudo:error", "")...)
				return len(wrong) > 0 || len(p.all(event, channel)) > 0
			})
			if len(wrong) > 0 {
				return fmt.Errorf("got %s", wrong[0].text)
			}
			return nil
		}})
	}
	for _, channel := range []string{"first", "unheard", "private-p", "cache-c"} {
		add("a subscription to "+channel, "pusher"+succeeded, channel, 7, func(p *peer) { p.ask(channel, "") })
	}
	add("a member joins", "pusher"+succeeded, "presence-near", 7, func(p *peer) { p.ask("presence-near", user("near")) })
	add("a member joins a far one", "pusher"+succeeded, "presence-far", 7, func(p *peer) { p.ask("presence-far", user("near")) })
	subscribe := func(channel, more string) func(*peer) {
		return func(p *peer) { p.say(`{"event":"sockudo:subscribe","data":{"channel":%q%s}}`, channel, more) }
	}
	add("a rewind", "sockudo:rewind_complete", "second", 2, subscribe("second", `,"rewind":2`))
	add("a snapshot", "sockudo:snapshot_complete", "third", 2, subscribe("third", `,"rewind":{"latest":true}`))
	add("a resume", "sockudo:resume_success", "", 2, func(p *peer) {
		subscribe("plain", "")(p)
		p.say(`{"event":"sockudo:resume","data":{"channel_positions":{"plain":{"stream_id":%q,"serial":%d}}}}`, stream, serial)
	})
	add("a page", "sockudo:channel_history", "fourth", 2, func(p *peer) {
		subscribe("fourth", "")(p)
		p.await("sockudo"+succeeded, "fourth")
		p.say(`{"event":"sockudo:channel_history","data":{"channel":"fourth"}}`)
	})
	return out
}

// readers returns requests for event streams.
func readers(t *testing.T, n *node, a *app.App, stream string, serial uint64) (out []door) {
	for name, query := range map[string]string{
		"a reader": "channel=reader", "a reader of several": "channel=reader-a&channel=reader-b", "a reader with a rewind": "channel=reader-c&since=2",
		"a reader comes back": "channel=plain&since=" + url.QueryEscape(stream+":"+fmt.Sprint(serial)),
	} {
		out = append(out, door{name, func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr()+"/app/"+a.Key+"/events?"+query, nil)
			if err != nil {
				return err
			}
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			left := strings.Count(query, "channel=")
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				switch text := lines.Text(); {
				case resp.StatusCode != http.StatusOK, strings.HasPrefix(text, "event: gap"), strings.HasPrefix(text, "event: error"):
					lines.Scan()
					return fmt.Errorf("got %d %s %s", resp.StatusCode, text, lines.Text())
				case strings.HasPrefix(text, "event: subscribed"):
					left--
				}
				if left == 0 {
					return nil
				}
			}
			return fmt.Errorf("the stream ended with %d", resp.StatusCode)
		}})
	}
	return out
}
