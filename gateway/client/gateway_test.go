package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/fault"
)

const patience = 3 * time.Minute

// most is the number of events of a channel that can be resumed.
const most = 400

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newLog(t *testing.T) broker.Log {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// serve runs a real node on the given log and returns its URL and a function that stops it.
func serve(t *testing.T, log broker.Log, listen string) (string, func()) {
	t.Helper()
	return serveRecovering(t, log, listen, most)
}

// serveRecovering is serve with a limit of events that can be resumed.
func serveRecovering(t *testing.T, log broker.Log, listen string, most int) (string, func()) {
	t.Helper()
	node, err := gateway.New(gateway.Options{
		Apps: app.NewRegistry(&app.App{
			ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits, HistoryEnabled: true, Rewind: true,
			Recovery: app.Recovery{Enabled: true, MaxEvents: most, MaxBytes: 4 << 20, Age: time.Minute},
			Delta:    app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 5, MinSize: 100, MaxAgeSeconds: 300, Path: "device", MaxKeys: 100},
		}),
		Log: log, Listen: listen, Hub: hub.Options{DeltaEnabled: true, Linger: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node failed: %v", err)
		}
	}
	t.Cleanup(stop)
	return "http://" + node.Addr(), stop
}

func api(t *testing.T, url string) *client.Signed {
	t.Helper()
	s, err := client.NewSigned(client.SignedOptions{URL: url, AppID: "app", Key: "key", Secret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(t *testing.T, opt client.Options) *client.Client {
	t.Helper()
	opt.Key = "key"
	c, err := client.Dial(within(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func next(t *testing.T, c *client.Client) client.Event {
	t.Helper()
	select {
	case ev, open := <-c.Events():
		if !open {
			t.Fatalf("the client ended: %v", c.Err())
		}
		return ev
	case <-time.After(patience):
		t.Fatal("waited in vain for an event")
	}
	panic("unreachable")
}

// payload returns the data of a device, which resembles its previous data.
func payload(n int) string {
	return fmt.Sprintf(`{"device":"d%d","n":%d,"note":"Zürich, %s","values":[1,2,3,4,5,6,7,8,9,10,11,12],"label":"the quick brown fox jumps over the lazy dog","state":{"open":true,"level":%d}}`,
		n%3, n, "the same on every message of this device, so that a delta is worth it, and long enough for that as well", n%7)
}

func TestDeltasOfTheRealGateway(t *testing.T) {
	url, _ := serve(t, newLog(t), "127.0.0.1:0")
	type subscriber struct {
		name   string
		client *client.Client
		form   client.Form // expected of the last events
	}
	var all []subscriber
	for _, d := range []pusher.Dialect{pusher.V1, pusher.V2} {
		for _, algorithm := range []string{"", "fossil", "xdelta3"} {
			opt := client.Options{URL: url, Protocol: d, Delta: algorithm != ""}
			if algorithm != "" {
				opt.Algorithms = []string{algorithm}
			}
			c := dial(t, opt)
			if err := c.Subscribe(within(t), "private-metrics"); err == nil {
				t.Error("a private channel was granted without a signature")
			}
			if err := c.Subscribe(within(t), "metrics"); err != nil {
				t.Fatal(err)
			}
			if got := c.DeltaAlgorithm(); got != algorithm {
				t.Errorf("the server confirmed %q, want %q", got, algorithm)
			}
			all = append(all, subscriber{fmt.Sprintf("dialect %d, algorithm %q", d, algorithm), c, client.Plain})
		}
	}
	const events = 60
	publish := api(t, url)
	for n := 0; n < events; n += 10 {
		var batch []client.Publish
		for i := n; i < n+10; i++ {
			batch = append(batch, client.Publish{Name: "reading", Channel: "metrics", Data: payload(i)})
		}
		if err := publish.PublishBatch(within(t), batch...); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range all {
		forms := map[client.Form]int{}
		wire, full := 0, 0
		for n := range events {
			ev := next(t, s.client)
			if ev.Data != payload(n) || ev.Channel != "metrics" || ev.Name != "reading" {
				t.Fatalf("%s: event %d is %+v", s.name, n, ev)
			}
			forms[ev.Form]++
			wire += ev.WireBytes
			full += ev.FullBytes
		}
		if s.client.DeltaAlgorithm() == "" {
			if forms[client.Plain] != events || wire != full {
				t.Errorf("%s: forms %v", s.name, forms)
			}
			continue
		}
		// For each of three keys one event in five is full.
		if forms[client.Full] != events/5 || forms[client.Delta] != events-events/5 || wire >= full {
			t.Errorf("%s: forms %v, %d of %d bytes", s.name, forms, wire, full)
		}
	}
}

func TestSubscriptionsSurviveARestart(t *testing.T) {
	log := newLog(t)
	address := fmt.Sprint("127.0.0.1:", fault.Ports(t, 1)[0])
	url, stop := serve(t, log, address)
	states := make(chan client.Status, 100)
	c := dial(t, client.Options{
		URL: url, Delta: true, Reconnect: true, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		OnStatus: func(s client.Status) { states <- s }, Auth: api(t, url).SignChannel,
	})
	for _, channel := range []string{"metrics", "private-metrics"} {
		if err := c.Subscribe(within(t), channel); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(n int, channel string) {
		t.Helper()
		if err := api(t, url).Publish(within(t), client.Publish{Name: "reading", Channels: []string{channel}, Data: payload(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 4 {
		publish(n, "metrics")
		next(t, c)
	}
	stop()
	var closed *client.CloseError
	if s := <-states; s.Connected || !errors.As(s.Err, &closed) || closed.Code != 4200 || s.Retry != 0 {
		t.Errorf("after the stop: %+v", s)
	}
	_, stop = serve(t, log, address)
	defer stop()
	for s := range states {
		if s.Connected {
			break
		}
	}
	// Both channels are subscribed again when both deliver. Delivery of earlier events is not promised.
	seen := map[string]bool{}
	deadline := time.After(patience)
	for n := 4; len(seen) < 2; n++ {
		publish(n, "metrics")
		publish(n, "private-metrics")
		select {
		case ev := <-c.Events():
			seen[ev.Channel] = true
		case <-time.After(20 * time.Millisecond): // Not yet: publish again.
		case <-deadline:
			t.Fatalf("only %v came back", seen)
		}
	}
}

func TestHistoryOfTheRealGateway(t *testing.T) {
	url, _ := serve(t, newLog(t), "127.0.0.1:0")
	s := api(t, url)
	// The name has every character that is allowed in a channel and has to be escaped in a path.
	const channel = "a=b@c,d.e;f:g"
	for n := range 25 {
		if err := s.Publish(within(t), client.Publish{Name: "reading", Channels: []string{channel}, Data: payload(n)}); err != nil {
			t.Fatal(err)
		}
	}
	q := client.HistoryQuery{OldestFirst: true, Limit: 10}
	n := 0
	for {
		page, err := s.History(within(t), channel, q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Items {
			if got := page.Items[i].Data(); got != payload(n) {
				t.Fatalf("item %d is %s", n, got)
			}
			n++
		}
		if !page.HasMore {
			break
		}
		q.Cursor = page.NextCursor
	}
	if n != 25 {
		t.Errorf("%d items, want 25", n)
	}
	var refused *client.APIError
	if _, err := s.History(within(t), channel, client.HistoryQuery{Cursor: "made up"}); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("a cursor that is made up: %v", err)
	}
}
