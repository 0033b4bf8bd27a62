package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// door is the dialler of a client, which can be shut.
type door struct {
	mu      sync.Mutex
	shut    bool
	conns   []net.Conn
	refused chan struct{}
}

func (d *door) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shut {
		d.conns = append(d.conns, conn)
		return conn, nil
	}
	_ = conn.Close()
	select {
	case d.refused <- struct{}{}:
	default:
	}
	return nil, errors.New("the door is shut")
}

// close shuts the door, and returns when the client has failed to dial.
func (d *door) close(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	d.shut = true
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
	d.mu.Unlock()
	select {
	case <-d.refused:
	case <-time.After(patience):
		t.Fatal("the client does not come back")
	}
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = false
}

// second returns a V2 client behind a door.
func second(t *testing.T, url string) (*client.Client, *door) {
	t.Helper()
	d := &door{refused: make(chan struct{}, 1)}
	return dial(t, client.Options{
		URL: url, Protocol: pusher.V2, Dial: d.dial, Reconnect: true, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Buffer: 1000,
	}), d
}

// awaited is a context that signals when its Done is first called.
type awaited struct {
	context.Context
	told chan struct{}
	once sync.Once
}

func (a *awaited) Done() <-chan struct{} {
	a.once.Do(func() { close(a.told) })
	return a.Context.Done()
}

// until takes events up to one with the data last, and returns the data of all.
func until(t *testing.T, c *client.Client, last string) (got []string) {
	t.Helper()
	for {
		ev := next(t, c)
		if got = append(got, ev.Channel+" "+ev.Data); ev.Data == last {
			return got
		}
	}
}

// TestTime05TheSameIDInSeveralChannels: publishers choose ids, and the same id in two channels belongs to two
// events, live and when resumed.
func TestTime05TheSameIDInSeveralChannels(t *testing.T) {
	url, _ := serve(t, newLog(t), "127.0.0.1:0")
	publish := api(t, url)
	one := func(data, id string) {
		t.Helper()
		if err := publish.Publish(within(t), client.Publish{Name: "e", Channels: []string{"a", "b"}, Data: data, MessageID: id}); err != nil {
			t.Fatal(err)
		}
	}
	apart := func(data, id string) {
		t.Helper()
		for _, channel := range []string{"a", "b"} {
			if err := publish.Publish(within(t), client.Publish{Name: "e", Channels: []string{channel}, Data: data, MessageID: id}); err != nil {
				t.Fatal(err)
			}
		}
	}
	batch := func(data, id string) {
		t.Helper()
		if err := publish.PublishBatch(within(t), client.Publish{Name: "e", Channel: "a", Data: data, MessageID: id}, client.Publish{Name: "e", Channel: "b", Data: data, MessageID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []struct {
		name    string
		publish func(data, id string)
	}{{"one event for both", one}, {"an event for each", apart}, {"in a batch", batch}} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, away %t", how.name, away), func(t *testing.T) {
				c, way := second(t, url)
				for _, channel := range []string{"a", "b"} {
					if err := c.Subscribe(within(t), channel); err != nil {
						t.Fatal(err)
					}
				}
				if away {
					way.close(t)
				}
				how.publish("x", t.Name())
				if away {
					way.open()
				}
				one("last", "")
				// Each channel has its order, and two channels have none.
				got := map[string]int{}
				for got["a last"]+got["b last"] < 2 {
					ev := next(t, c)
					got[ev.Channel+" "+ev.Data]++
				}
				if diff := cmp.Diff(map[string]int{"a x": 1, "b x": 1, "a last": 1, "b last": 1}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestTime05ASubscriptionAnewBringsItsPast: a subscription with a rewind gets the whole rewind, whatever the
// client had of the channel before.
func TestTime05ASubscriptionAnewBringsItsPast(t *testing.T) {
	url, _ := serve(t, newLog(t), "127.0.0.1:0")
	publish := api(t, url)
	for name, option := range map[string]client.SubscribeOption{
		"a number of events": client.WithRewind(3), "a time": client.WithRewindFor(time.Minute), "the newest of each value": client.WithLatest(),
	} {
		for _, again := range []struct {
			name string
			do   func(t *testing.T, c *client.Client, way *door, channel string)
		}{
			{"given up and asked for", func(t *testing.T, c *client.Client, _ *door, channel string) {
				if err := c.Unsubscribe(channel); err != nil {
					t.Fatal(err)
				}
				if err := c.Subscribe(within(t), channel, option); err != nil {
					t.Fatal(err)
				}
			}},
			{"asked for once more", func(t *testing.T, c *client.Client, _ *door, channel string) {
				if err := c.Subscribe(within(t), channel, option); err != nil {
					t.Fatal(err)
				}
			}},
			{"asked for while there is no connection", func(t *testing.T, c *client.Client, way *door, channel string) {
				way.close(t)
				ctx, done := &awaited{Context: within(t), told: make(chan struct{})}, make(chan error, 1)
				go func() { done <- c.Subscribe(ctx, channel, option) }()
				<-ctx.told
				way.open()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}},
		} {
			t.Run(name+", "+again.name, func(t *testing.T) {
				channel := fmt.Sprint("c", len(t.Name()))
				say := func(data string) {
					t.Helper()
					if err := publish.Publish(within(t), client.Publish{Name: "e", Channels: []string{channel}, Data: data, ConflationKey: &data}); err != nil {
						t.Fatal(err)
					}
				}
				c, way := second(t, url)
				if err := c.Subscribe(within(t), channel); err != nil {
					t.Fatal(err)
				}
				want := []string{}
				for _, data := range []string{"1", "2", "3"} {
					say(data)
					want = append(want, channel+" "+data)
				}
				until(t, c, "3")
				again.do(t, c, way, channel)
				say("last")
				if diff := cmp.Diff(append(want, channel+" last"), until(t, c, "last")); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}
