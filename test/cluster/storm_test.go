package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
)

// TestReconnectStorm closes 500 sockets with presence at once, 2,000 in a long run, and lets all reconnect,
// while another client publishes to another channel.
func TestReconnectStorm(t *testing.T) {
	const rooms = 20
	sockets := 500
	if fault.Long() {
		sockets = 2000
	}
	a := everything("app")
	a.SubscriptionCount, a.Limits.MaxMembers = false, 2*sockets/rooms
	c := start(t, 3, settings{replicated: true, apps: []*app.App{a}})
	room := func(i int) string { return fmt.Sprint("presence-storm-", i%rooms) }

	var watchers []*peer
	for i := range rooms {
		w := c.nodes[i%3].connect(t, a)
		w.subscribe(room(i), user("watcher"))
		watchers = append(watchers, w)
	}
	listener := c.nodes[2].connect(t, a)
	listener.subscribe("ticker", "")
	storm := func() []*peer {
		peers := make([]*peer, sockets)
		var running sync.WaitGroup
		for part := range 50 {
			running.Go(func() {
				for i := part; i < sockets; i += 50 {
					p := c.nodes[i%3].connect(t, a)
					p.subscribe(room(i), user(fmt.Sprint("u", i)))
					peers[i] = p
				}
			})
		}
		running.Wait()
		return peers
	}
	all := func() {
		for i, w := range watchers {
			want := []string{"watcher"}
			for k := i; k < sockets; k += rooms {
				want = append(want, fmt.Sprint("u", k))
			}
			converge(t, room(i), want, w)
		}
	}
	began := time.Now()
	first := storm()
	all()
	t.Logf("%d members came in %v", sockets, time.Since(began).Round(time.Millisecond))

	stop, published := make(chan struct{}), make(chan int, 1)
	go func() {
		signed, n := c.nodes[0].sign(t, a), 0
		defer func() { published <- n }()
		for {
			select {
			case <-stop:
				return
			default:
				publish(t, signed, "ticker", fmt.Sprint(n))
				n++
			}
		}
	}()
	began = time.Now()
	var closing sync.WaitGroup
	for part := range 50 {
		closing.Go(func() {
			for i := part; i < sockets; i += 50 {
				_ = first[i].conn.NetConn().Close()
			}
		})
	}
	closing.Wait()
	second := storm()
	all()
	took := time.Since(began)
	close(stop)
	n := <-published
	got := listener.awaitN("tick", "ticker", n)
	for i, m := range got {
		if m.str() != fmt.Sprint(i) {
			t.Fatalf("publish %d arrived as %s", i, m.str())
		}
	}
	t.Logf("%d members left and came back in %v; meanwhile %d events were published to another channel, %.0f a second",
		sockets, took.Round(time.Millisecond), n, float64(n)/took.Seconds())
	// The members that a socket computes from its hash and the frames after it are those of the others.
	for i := range rooms {
		p := second[i]
		if got, want := p.view(room(i)), watchers[i].view(room(i)); !slices.Equal(got, want) {
			eventually(t, "all see the same members", func() bool { return slices.Equal(p.view(room(i)), watchers[i].view(room(i))) })
		}
		if v := p.view(room(i)); len(v) == 1 && strings.Contains(v[0], "twice") {
			t.Error(v[0])
		}
	}
}
