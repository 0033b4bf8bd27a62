package main

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/redisserver"
)

// stuck is a table that stores no counts of subscriptions until held is closed.
type stuck struct {
	kv.Table
	held chan struct{}
}

func (s stuck) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if strings.HasPrefix(key, "seat.") && strings.HasSuffix(key, ".=") {
		select {
		case <-s.held:
		case <-ctx.Done():
			return 0, kv.ErrUnavailable
		}
	}
	return s.Table.Put(ctx, key, value, ttl)
}

// logWithTable opens a log of a kind, with its table.
func logWithTable(t *testing.T, kind string) (broker.Log, kv.Table) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var log broker.Log
	var table kv.Table
	var err error
	switch kind {
	case "memory":
		log, err = memory.New(memory.Options{Apps: []string{"app-id"}})
		table = kv.NewMemoryTable(nil)
	case "nats":
		var server *embedded.Server
		if server, err = embedded.Start(ctx, embedded.Options{Host: "127.0.0.1", Port: -1, StoreDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Shutdown)
		var l *streams.Log
		if l, err = streams.Open(ctx, streams.Options{Apps: []streams.AppOptions{{ID: "app-id", Secrets: []streams.Secret{"secret"}}}, ConnectOptions: server.ConnectOptions()}); err != nil {
			t.Fatal(err)
		}
		log = l
		table, err = l.OpenTable(ctx)
	case "redis":
		var l *redis.Log
		if l, err = redis.Open(ctx, redis.Options{Apps: []redis.AppOptions{{ID: "app-id"}}, URL: redis.Secret(redisserver.Start(t).URL())}); err != nil {
			t.Fatal(err)
		}
		log = l
		table, err = l.OpenTable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log, table
}

// stuckNode runs a gateway whose counts of subscriptions do not reach its table before the end of the test.
func stuckNode(t *testing.T, kind string) string {
	t.Helper()
	log, table := logWithTable(t, kind)
	s := stuck{table, make(chan struct{})}
	node, err := gateway.New(gateway.Options{
		Apps: app.NewRegistry(&app.App{ID: "app-id", Key: "app-key", Secret: "app-secret", Enabled: true, Limits: app.DefaultLimits, SubscriptionCount: true}),
		Log:  log, Table: s, Listen: "127.0.0.1:0", Hub: hub.Options{Linger: 100 * time.Millisecond},
		PublishTimeout: patience, AnswerTimeout: patience, BodyTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(run) }()
	t.Cleanup(func() {
		close(s.held)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node failed: %v", err)
		}
	})
	return "http://" + node.Addr()
}

// asker queries a gateway.
type asker struct {
	*testing.T
	signed *client.Signed
}

// wants checks the counts of a channel with every kind of query.
func (a asker) wants(when, channel string, subscriptions, users int) {
	a.Helper()
	presence := strings.HasPrefix(channel, "presence-")
	numbers, info := map[string]any{"subscription_count": float64(subscriptions)}, "subscription_count"
	if presence {
		numbers["user_count"], info = float64(users), "subscription_count,user_count"
	}
	ask := func(what, method string, path []string, query url.Values, body any, want any) {
		a.Helper()
		var got any
		if err := a.signed.Do(a.Context(), method, path, query, body, &got); err != nil {
			a.Errorf("%s, %s: %v", when, what, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			a.Errorf("%s, %s (-want +got):\n%s", when, what, diff)
		}
	}
	one, all := map[string]any{"occupied": subscriptions > 0}, map[string]any{}
	for k, v := range numbers {
		one[k] = v
	}
	if subscriptions > 0 {
		all[channel] = numbers
	}
	ask("the channel", http.MethodGet, []string{"channels", channel}, url.Values{"info": {info}}, nil, one)
	ask("all channels", http.MethodGet, []string{"channels"}, url.Values{"info": {info}, "filter_by_prefix": {channel}}, nil, map[string]any{"channels": all})
	event := map[string]any{"name": "e", "channel": channel, "data": "d", "info": info}
	ask("a publish", http.MethodPost, []string{"events"}, nil, event, map[string]any{"channels": map[string]any{channel: numbers}})
	ask("a batch", http.MethodPost, []string{"batch_events"}, nil, map[string]any{"batch": []any{event}}, map[string]any{"batch": []any{numbers}})
	if presence {
		in := []any{}
		if users > 0 {
			in = append(in, map[string]any{"id": "ann"})
		}
		ask("the users", http.MethodGet, []string{"channels", channel, "users"}, nil, nil, map[string]any{"users": in})
	}
}

// TestEV19QueriesDoNotLagBehindFrames: once a client was told that it has subscribed, or has an answer to a
// request after its unsubscription, every query to this gateway shows that, whatever the log is and however
// slow it is.
func TestEV19QueriesDoNotLagBehindFrames(t *testing.T) {
	for _, kind := range []string{"memory", "nats", "redis"} {
		t.Run(kind, func(t *testing.T) {
			base := stuckNode(t, kind)
			signed, err := client.NewSigned(client.SignedOptions{URL: base, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
			if err != nil {
				t.Fatal(err)
			}
			a := asker{t, signed}
			connect := func() *client.Client {
				c, err := client.Dial(t.Context(), client.Options{
					URL: base, Key: "app-key", OnEvent: func(client.Event) {},
					Auth: func(socketID, channel string) (string, string, error) {
						data := ""
						if strings.HasPrefix(channel, "presence-") {
							data = `{"user_id":"ann"}`
						}
						return "app-key:" + pusher.SignChannel("app-secret", socketID, channel, data, data != ""), data, nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			one, two := connect(), connect()
			subscribe := func(c *client.Client, channel string) {
				t.Helper()
				if err := c.Subscribe(t.Context(), channel); err != nil {
					t.Fatal(err)
				}
			}
			unsubscribe := func(c *client.Client, channel string) {
				t.Helper()
				if err := c.Unsubscribe(channel); err != nil {
					t.Fatal(err)
				}
				subscribe(c, "fence-of-"+channel) // the answer comes after the unsubscription
			}
			for _, channel := range []string{"room", "private-room", "cache-room", "presence-room"} {
				a.wants("before", channel, 0, 0)
				subscribe(one, channel)
				a.wants("after the first", channel, 1, 1)
				subscribe(two, channel)
				a.wants("after the second", channel, 2, 1)
				unsubscribe(one, channel)
				a.wants("after one has left", channel, 1, 1)
				unsubscribe(two, channel)
				a.wants("after both have left", channel, 0, 0)
				subscribe(one, channel)
				a.wants("after one has come back", channel, 1, 1)
			}
			read(t, base+"/app/app-key/events?channel=told")
			a.wants("after an event stream has begun", "told", 1, 0)
		})
	}
}

// read begins an event stream and returns after its subscribed event.
func read(t *testing.T, address string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	with := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := with.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if lines.Text() == "event: subscribed" {
			return
		}
	}
	t.Fatalf("the stream ended: %s", answer.Status)
}
