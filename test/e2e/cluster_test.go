package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/sluicehq/sluice/test/redisserver"
)

// natsNode starts a NATS server outside the gateways, as an operator would run it, and returns its URL.
func natsNode(t *testing.T) string {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "external", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("nats-server did not get ready")
	}
	return s.ClientURL()
}

// gatewayOn returns the configuration of a gateway without an embedded NATS server.
func gatewayOn(natsURL string) string {
	return fmt.Sprintf(`mode: development
host: 127.0.0.1
port: 0
metrics: {host: 127.0.0.1, port: -1}
log: {format: json}
history: {enabled: true}
nats:
  url: %q
`, natsURL)
}

// onRedis returns the configuration of a gateway whose log is on Redis.
func onRedis(driver, url string) string {
	return fmt.Sprintf(`mode: development
host: 127.0.0.1
port: 0
metrics: {host: 127.0.0.1, port: -1}
log: {format: json}
history: {enabled: true}
adapter: {driver: %s}
redis_url: %q
`, driver, url)
}

// TestTwoGatewaysShareOneLog: events that one gateway accepts reach the sockets of both, in one order.
func TestTwoGatewaysShareOneLog(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func() string{
		"nats":          func() string { return gatewayOn(natsNode(t)) },
		"redis":         func() string { return onRedis("redis", redisserver.Start(t).URL()) },
		"redis-cluster": func() string { return onRedis("redis-cluster", redisserver.StartCluster(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) { shareOneLog(t, yaml()) })
	}
}

func shareOneLog(t *testing.T, yaml string) {
	gateways := []*server{serve(t, t.TempDir(), yaml), serve(t, t.TempDir(), yaml)}
	const channel, each, writers = "shared", 150, 4
	var receivers []*node
	for _, g := range gateways {
		host, port, err := net.SplitHostPort(g.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		r := script(t, "receive.mjs", host, port, appKey, channel)
		r.subscribed()
		receivers = append(receivers, r)
	}
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	var publishing sync.WaitGroup
	for w := range writers {
		publishing.Go(func() {
			for n := range each {
				if err := publishSigned(client, gateways[(w+n)%2].HTTP, channel, fmt.Sprint("w", w), strconv.Itoa(n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	publishing.Wait()
	var orders [2][]string
	for i, r := range receivers {
		for range each * writers {
			var l received
			r.line(&l)
			var n json.Number
			if err := json.Unmarshal(l.Data, &n); err != nil {
				t.Fatalf("got %+v: %v", l, err)
			}
			orders[i] = append(orders[i], l.Event+" "+n.String())
		}
	}
	if a, b := strings.Join(orders[0], "\n"), strings.Join(orders[1], "\n"); a != b {
		t.Errorf("the gateways delivered in different orders")
	}
	next := map[string]int{}
	for _, o := range orders[0] {
		name, n, _ := strings.Cut(o, " ")
		if n != strconv.Itoa(next[name]) {
			t.Fatalf("got %s, want number %d", o, next[name])
		}
		next[name]++
	}
	// Both return the same history.
	for _, g := range gateways {
		if got := len(history(t, g, channel, "newest_first", "").Items); got != 100 {
			t.Errorf("a page of history has %d items, want 100", got)
		}
	}
}

func TestGatewayWithoutItsClusterStopsWithAReason(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func(addr string) string{
		"nats": func(addr string) string { return gatewayOn("nats://"+addr) + "  start_timeout: 1s\n" },
		"redis": func(addr string) string {
			return onRedis("redis", "redis://:hunter5@"+addr) + "redis: {start_timeout: 1s}\n"
		},
		"redis-cluster": func(addr string) string {
			return onRedis("redis-cluster", "redis://:hunter5@"+addr) + "redis: {start_timeout: 1s}\n"
		},
	} {
		t.Run(name, func(t *testing.T) { stopsWithAReason(t, yaml) })
	}
	// A single server configured as a cluster is refused, and a cluster configured as a single server, too.
	single, cluster := redisserver.Start(t), redisserver.StartCluster(t)
	for name, c := range map[string]struct{ yaml, says string }{
		"a cluster as a single server": {onRedis("redis", cluster.Masters[0].URL()), "redis-cluster"},
		"a single server as a cluster": {onRedis("redis-cluster", single.URL()) + "redis: {start_timeout: 1s}\n", "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			s := launch(t, t.TempDir(), c.yaml)
			select {
			case <-s.done:
			case <-time.After(patience):
				t.Fatal("the gateway goes on")
			}
			if s.err == nil || !strings.Contains(s.logs.String(), c.says) {
				t.Errorf("ended with %v:\n%s", s.err, s.logs)
			}
		})
	}
}

func stopsWithAReason(t *testing.T, yaml func(addr string) string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	s := launch(t, t.TempDir(), yaml(closed))
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatal("the gateway goes on without its log")
	}
	if s.err == nil || !strings.Contains(s.logs.String(), closed) {
		t.Errorf("ended with %v:\n%s", s.err, s.logs)
	}
	if strings.Contains(s.logs.String(), "hunter5") {
		t.Errorf("the password is in the log:\n%s", s.logs)
	}
}
