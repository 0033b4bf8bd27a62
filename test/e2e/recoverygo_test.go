package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/redisserver"
)

// addresses holds the addresses of gateways that stop and start, and the connections to them.
type addresses struct {
	mu    sync.Mutex
	rand  *rand.Rand
	of    []string
	conns []net.Conn
}

// dial opens a connection to a random gateway.
func (a *addresses) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	a.mu.Lock()
	to := a.of[a.rand.IntN(len(a.of))]
	a.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err == nil {
		a.mu.Lock()
		a.conns = append(a.conns, conn)
		a.mu.Unlock()
	}
	return conn, err
}

// cut closes about half of the connections.
func (a *addresses) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := a.conns[:0]
	for _, c := range a.conns {
		if a.rand.IntN(2) == 0 {
			_ = c.Close()
		} else {
			kept = append(kept, c)
		}
	}
	a.conns = kept
}

func (a *addresses) set(i int, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of[i] = address
}

// follower is a Go client that compares the received events with the published ones.
type follower struct {
	*client.Client
	mu     sync.Mutex
	seen   map[string]int
	deltas int
	back   int
	wrong  []string
}

func (f *follower) event(ev client.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := int(gjson.Get(ev.Data, "n").Int()); n != f.seen[ev.Channel] {
		f.wrong = append(f.wrong, fmt.Sprintf("%d came on %s, want %d", n, ev.Channel, f.seen[ev.Channel]))
	}
	f.seen[ev.Channel]++
	if ev.Form == client.Delta {
		f.deltas++
	}
}

func (f *follower) status(s client.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case s.Gap != nil:
		f.wrong = append(f.wrong, s.Gap.Error())
	case s.Recovered != nil:
		f.back++
		for i := range s.Recovered.Gaps {
			f.wrong = append(f.wrong, s.Recovered.Gaps[i].Error())
		}
	case s.Connected && s.Err != nil:
		f.wrong = append(f.wrong, s.Err.Error())
	}
}

// TestRE11AKilledGatewayCostsNoClientAnEvent kills and stops two gateways on one log in turn and cuts
// connections at random, while a feed goes on. Clients that resume, with deltas and without, get each event
// once and in order.
func TestRE11AKilledGatewayCostsNoClientAnEvent(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func() string{
		"nats":  func() string { return gatewayOn(natsNode(t)) },
		"redis": func() string { return onRedis("redis", redisserver.Start(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) { comeAndGo(t, yaml()+recoveryConfig) })
	}
}

func comeAndGo(t *testing.T, yaml string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dirs := []string{t.TempDir(), t.TempDir()}
	gateways := []*server{serve(t, dirs[0], yaml), serve(t, dirs[1], yaml)}
	to := &addresses{rand: rand.New(rand.NewPCG(seed, 1)), of: []string{gateways[0].HTTP, gateways[1].HTTP}}
	f := &feed{channels: []string{"market", "private-market"}, done: make(chan error, 1)}
	f.at.Store(&gateways[1].HTTP)
	signed, err := client.NewSigned(client.SignedOptions{URL: "http://" + gateways[0].HTTP, AppID: appID, Key: appKey, Secret: app.Secret(appSecret)})
	if err != nil {
		t.Fatal(err)
	}
	var all []*follower
	for i, algorithm := range []string{"", "fossil", "xdelta3", "fossil", "xdelta3", ""} {
		c := &follower{seen: map[string]int{}}
		opt := client.Options{
			URL: "http://" + gateways[0].HTTP, Key: appKey, Protocol: pusher.V2, Delta: algorithm != "", Dial: to.dial, Auth: signed.SignChannel,
			Reconnect: true, MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, OnEvent: c.event, OnStatus: c.status,
			HandshakeTimeout: time.Minute,
		}
		if algorithm != "" {
			opt.Algorithms = []string{algorithm}
		}
		if c.Client, err = client.Dial(t.Context(), opt); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		for _, channel := range f.channels {
			if err := c.Subscribe(t.Context(), channel); err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
		}
		all = append(all, c)
	}
	const events, rounds = 1200, 4
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	go f.run(ctx, events)
	for round := range rounds {
		eventually(t, "the feed has gone on to "+strconv.Itoa(round), func() bool { return f.sent.Load() >= int64((round+1)*events/(rounds+2)) })
		to.cut()
		victim := round % 2
		f.at.Store(&gateways[1-victim].HTTP)
		if round < 2 {
			gateways[victim].kill()
		} else {
			gateways[victim].stop()
		}
		gateways[victim] = serve(t, dirs[victim], yaml)
		to.set(victim, gateways[victim].HTTP)
		to.cut()
	}
	if err := <-f.done; err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		eventually(t, fmt.Sprintf("client %d has everything", i), func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.wrong) > 0 || c.seen[f.channels[0]] == events && c.seen[f.channels[1]] == events
		})
		c.mu.Lock()
		if len(c.wrong) > 0 {
			t.Errorf("client %d: %d are wrong, first %s", i, len(c.wrong), c.wrong[0])
		}
		t.Logf("client %d came back %d times, %d deltas", i, c.back, c.deltas)
		c.mu.Unlock()
	}
}
