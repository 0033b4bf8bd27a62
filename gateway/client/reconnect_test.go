package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// wires dials any of several gateways and can cut the connections.
type wires struct {
	mu    sync.Mutex
	rand  *rand.Rand
	to    []string
	conns []net.Conn
}

func (w *wires) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	w.mu.Lock()
	to := w.to[w.rand.IntN(len(w.to))]
	w.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, to)
	if err == nil {
		w.mu.Lock()
		w.conns = append(w.conns, conn)
		w.mu.Unlock()
	}
	return conn, err
}

// cut closes every open connection.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// witness records what a client reports.
type witness struct {
	mu        sync.Mutex
	gaps      []client.Gap
	lost      []error
	recovered int
	resumed   int
}

func (w *witness) status(s client.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var undecodable *client.DeltaError
	if errors.As(s.Err, &undecodable) {
		w.lost = append(w.lost, s.Err)
	}
	if s.Gap != nil {
		w.gaps = append(w.gaps, *s.Gap)
	}
	if s.Recovered != nil {
		w.recovered++
		w.resumed += s.Recovered.Events
		w.gaps = append(w.gaps, s.Recovered.Gaps...)
	}
}

// TestTime05EveryEventOnceOverReconnects: connections are cut at random while events are published through
// two gateways on one log. Every client gets each event once and in order, with deltas and without.
func TestTime05EveryEventOnceOverReconnects(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	log := newLog(t)
	one, _ := serve(t, log, "127.0.0.1:0")
	two, _ := serve(t, log, "127.0.0.1:0")
	apis := []*client.Signed{api(t, one), api(t, two)}
	channels := []string{"metrics", "private-metrics"}
	type subscriber struct {
		*client.Client
		wires   *wires
		witness witness
		got     map[string]int
		deltas  int
	}
	var all []*subscriber
	for i, algorithm := range []string{"", "fossil", "xdelta3"} {
		s := &subscriber{got: map[string]int{}, wires: &wires{rand: rand.New(rand.NewPCG(seed, uint64(i+1)))}}
		for _, url := range []string{one, two} {
			s.wires.to = append(s.wires.to, strings.TrimPrefix(url, "http://"))
		}
		opt := client.Options{
			URL: one, Protocol: pusher.V2, Delta: algorithm != "", Reconnect: true, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
			Dial: s.wires.dial, Auth: apis[0].SignChannel, OnStatus: s.witness.status, Buffer: 4096,
		}
		if algorithm != "" {
			opt.Algorithms = []string{algorithm}
		}
		s.Client = dial(t, opt)
		for _, channel := range channels {
			if err := s.Subscribe(within(t), channel); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, s)
	}
	const events = 400
	for n := range events {
		p := client.Publish{Name: "reading", Channels: channels, Data: payload(n)}
		if err := apis[random.IntN(2)].Publish(within(t), p); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if random.IntN(40) == 0 {
				s.wires.cut()
			}
		}
	}
	for i, s := range all {
		for s.got[channels[0]]+s.got[channels[1]] < events*len(channels) {
			ev := next(t, s.Client)
			if want := payload(s.got[ev.Channel]); ev.Data != want {
				t.Fatalf("client %d: event %d of %s is %s, want %s", i, s.got[ev.Channel], ev.Channel, ev.Data, want)
			}
			s.got[ev.Channel]++
			if ev.Form == client.Delta {
				s.deltas++
			}
		}
		s.witness.mu.Lock()
		if len(s.witness.gaps) > 0 || len(s.witness.lost) > 0 {
			t.Errorf("client %d: gaps %+v, lost %v", i, s.witness.gaps, s.witness.lost)
		}
		t.Logf("client %d: %d returns, %d events resumed, %d deltas", i, s.witness.recovered, s.witness.resumed, s.deltas)
		if s.witness.recovered == 0 {
			t.Errorf("client %d never came back", i)
		}
		s.witness.mu.Unlock()
		if s.DeltaAlgorithm() != "" && s.deltas == 0 {
			t.Errorf("client %d got no delta", i)
		}
	}
}

// TestTime05RewindAndLatest: a subscription with a rewind or a snapshot gets it once, even if the connection
// is lost.
func TestTime05RewindAndLatest(t *testing.T) {
	log := newLog(t)
	url, _ := serve(t, log, "127.0.0.1:0")
	s := api(t, url)
	publish := func(n int) {
		t.Helper()
		if err := s.Publish(within(t), client.Publish{Name: "reading", Channels: []string{"metrics"}, Data: payload(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		publish(n)
	}
	for _, c := range []struct {
		option client.SubscribeOption
		want   []int
		ends   string
	}{
		{client.WithRewind(4), []int{6, 7, 8, 9}, "sockudo:rewind_complete"},
		{client.WithRewindFor(time.Hour), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "sockudo:rewind_complete"},
		{client.WithLatest(), []int{7, 8, 9}, "sockudo:snapshot_complete"},
	} {
		w := &wires{rand: rand.New(rand.NewPCG(1, 2)), to: []string{strings.TrimPrefix(url, "http://")}}
		ended, states := make(chan string, 10), make(chan client.Status, 10)
		one := dial(t, client.Options{
			URL: url, Protocol: pusher.V2, Reconnect: true, MinBackoff: time.Millisecond, Dial: w.dial,
			OnControl: func(ev client.Event) {
				if strings.HasSuffix(ev.Name, "_complete") {
					ended <- ev.Name
				}
			},
			OnStatus: func(s client.Status) {
				if s.Recovered != nil {
					states <- s
				}
			},
		})
		if err := one.Subscribe(within(t), "metrics", c.option); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.want {
			if ev := next(t, one); ev.Data != payload(n) {
				t.Fatalf("%s: got %s, want event %d", c.ends, ev.Data, n)
			}
		}
		if got := take(t, ended); got != c.ends {
			t.Errorf("got %s, want %s", got, c.ends)
		}
		w.cut()
		if got := take(t, states).Recovered; len(got.Gaps) > 0 || got.Channels != 1 || got.Events != 0 {
			t.Errorf("%s: coming back: %+v", c.ends, got)
		}
		_ = one.Close()
		if ev, open := <-one.Events(); open {
			t.Errorf("%s: after coming back: %+v", c.ends, ev)
		}
	}
	first := dial(t, client.Options{URL: url})
	var refused *client.SubscriptionError
	if err := first.Subscribe(within(t), "metrics", client.WithRewind(3)); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("a rewind on V1: %v", err)
	}
}

func take[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	panic("unreachable")
}

// TestTime05AGapIsTold: a client that was away for longer than can be resumed is told how much it missed, and
// goes on.
func TestTime05AGapIsTold(t *testing.T) {
	log := newLog(t)
	url, _ := serve(t, log, "127.0.0.1:0")
	for _, c := range []struct {
		name string
		opt  client.Options
		code string
	}{
		{"more than can be resumed", client.Options{Protocol: pusher.V2}, "position_expired"},
		{"without resuming", client.Options{Protocol: pusher.V2, NoResume: true}, client.NotRecoverable},
		{"the first dialect", client.Options{}, client.NotRecoverable},
	} {
		t.Run(c.name, func(t *testing.T) {
			channel := "gap-" + fmt.Sprint(len(c.name))
			w := &wires{rand: rand.New(rand.NewPCG(1, 2)), to: []string{strings.TrimPrefix(url, "http://")}}
			away, back := make(chan client.Status, 1), make(chan *client.Recovery, 10)
			var block sync.Mutex
			opt := c.opt
			opt.URL, opt.Reconnect, opt.MinBackoff = url, true, time.Millisecond
			opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				block.Lock()
				defer block.Unlock()
				return w.dial(ctx, network, address)
			}
			opt.OnStatus = func(s client.Status) {
				if !s.Connected {
					away <- s
				}
				if s.Recovered != nil {
					back <- s.Recovered
				}
			}
			one := dial(t, opt)
			if err := one.Subscribe(within(t), channel); err != nil {
				t.Fatal(err)
			}
			publish := func(from, to int) {
				t.Helper()
				for n := from; n < to; n++ {
					if err := api(t, url).Publish(within(t), client.Publish{Name: "e", Channels: []string{channel}, Data: payload(n)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			publish(0, 1)
			first := next(t, one)
			block.Lock()
			w.cut()
			take(t, away)
			publish(1, 2*most)
			block.Unlock()
			got := take(t, back)
			if len(got.Gaps) != 1 || got.Gaps[0].Code != c.code || got.Gaps[0].Channel != channel || got.Gaps[0].After < first.Serial {
				t.Fatalf("got %+v", got)
			}
			// The server may find out that it is too much after it has sent a part. The gateway may also not
			// have received the last events yet, which then come live.
			came := got.Gaps[0].After - first.Serial
			if missed := came + got.Gaps[0].Most(); c.code == "position_expired" && (missed <= most || missed > 2*most-1) {
				t.Errorf("at most %d missed of %d: %+v", missed, 2*most-1, got.Gaps[0])
			}
			if got.Gaps[0].Error() == "" || got.Gaps[0].Reason == "" {
				t.Error("no reason")
			}
			if c.code == client.NotRecoverable {
				// No report could say when the subscription is answered.
				if err := one.Subscribe(within(t), channel); err != nil {
					t.Fatal(err)
				}
			}
			publish(2*most, 2*most+1)
			for n := range came {
				if ev := next(t, one); ev.Data != payload(int(n)+1) {
					t.Fatalf("event %d of what came is %s", n, ev.Data)
				}
			}
			// Events that the gateway had not received at the subscription come live.
			for ev := next(t, one); ev.Data != payload(2*most); ev = next(t, one) {
				if ev.Serial > 0 && ev.Serial <= got.Gaps[0].After {
					t.Fatalf("got %s", ev.Data)
				}
			}
		})
	}
}

// TestTime05DeltasBehindWhatWasReadAgain: a client that subscribes while much is published can decode its
// deltas, even if events that it waited for have left memory and are read from the log.
func TestTime05DeltasBehindWhatWasReadAgain(t *testing.T) {
	log := newLog(t)
	url, _ := serveRecovering(t, log, "127.0.0.1:0", 3)
	for round := range 5 {
		channel := fmt.Sprint("metrics", round)
		var seen witness
		c := dial(t, client.Options{URL: url, Protocol: pusher.V2, Delta: true, OnStatus: seen.status})
		if err := c.Subscribe(within(t), channel); err != nil {
			t.Fatal(err)
		}
		for n := range 30 {
			batch := client.Publish{Name: "reading", Channel: channel, Data: payload(n)}
			if err := api(t, url).PublishBatch(within(t), batch); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 30 {
			if ev := next(t, c); ev.Data != payload(n) {
				t.Fatalf("round %d: event %d is %s", round, n, ev.Data)
			}
		}
		seen.mu.Lock()
		if len(seen.lost) > 0 {
			t.Errorf("round %d: %v", round, seen.lost)
		}
		seen.mu.Unlock()
	}
}

// TestTime05WhatExcludedAFormerSocketStaysAway: events that excluded the former socket of a client are not
// sent to its new one, and no delta is against a text that it does not have, however often it reconnects.
func TestTime05WhatExcludedAFormerSocketStaysAway(t *testing.T) {
	log := newLog(t)
	url, _ := serve(t, log, "127.0.0.1:0")
	w := &wires{rand: rand.New(rand.NewPCG(1, 2)), to: []string{strings.TrimPrefix(url, "http://")}}
	var block sync.Mutex
	var seen witness
	away, back := make(chan struct{}, 1), make(chan struct{}, 1)
	c := dial(t, client.Options{
		URL: url, Protocol: pusher.V2, Delta: true, Reconnect: true, MinBackoff: time.Millisecond,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			block.Lock()
			defer block.Unlock()
			return w.dial(ctx, network, address)
		},
		OnStatus: func(s client.Status) {
			seen.status(s)
			if !s.Connected && s.Retry > 0 {
				away <- struct{}{}
			}
			if s.Recovered != nil {
				back <- struct{}{}
			}
		},
	})
	if err := c.Subscribe(within(t), "metrics"); err != nil {
		t.Fatal(err)
	}
	n := 0
	publish := func(excluded string) {
		t.Helper()
		p := client.Publish{Name: "reading", Channels: []string{"metrics"}, Data: payload(n), SocketID: excluded}
		if err := api(t, url).Publish(within(t), p); err != nil {
			t.Fatal(err)
		}
		n++
	}
	expect := func() {
		t.Helper()
		if ev := next(t, c); ev.Data != payload(n-1) {
			t.Fatalf("got %s, want event %d", ev.Data, n-1)
		}
	}
	deltas := 0
	for range 8 {
		id := c.SocketID()
		for range 4 {
			publish("")
			expect()
			publish(id)
		}
		block.Lock()
		w.cut()
		take(t, away)
		publish(id)
		publish("")
		block.Unlock()
		if ev := next(t, c); ev.Data != payload(n-1) {
			t.Fatalf("got %s, want event %d", ev.Data, n-1)
		} else if ev.Form == client.Delta {
			deltas++
		}
		take(t, back)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.gaps) > 0 || len(seen.lost) > 0 {
		t.Errorf("gaps %+v, lost %v", seen.gaps, seen.lost)
	}
	if deltas == 0 {
		t.Error("nothing was resumed with a delta")
	}
}
