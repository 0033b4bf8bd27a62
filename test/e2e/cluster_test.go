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
)

// natsNode is a NATS server as an operator would run it beside the gateways.
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
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server did not get ready")
	}
	return s.ClientURL()
}

// gatewayOn is the configuration of a gateway that embeds nothing.
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

// What one gateway accepts reaches the sockets of both, in one order.
func TestTwoGatewaysShareOneLog(t *testing.T) {
	url := natsNode(t)
	gateways := []*server{serve(t, t.TempDir(), gatewayOn(url)), serve(t, t.TempDir(), gatewayOn(url))}
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
	// Both find the same history.
	for _, g := range gateways {
		if got := len(history(t, g, channel, "newest_first", "").Items); got != 100 {
			t.Errorf("a page of history has %d items, want 100", got)
		}
	}
}

func TestGatewayWithoutItsClusterStopsWithAReason(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	s := launch(t, t.TempDir(), gatewayOn("nats://"+closed)+"  start_timeout: 1s\n")
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatal("the gateway goes on without its log")
	}
	if s.err == nil || !strings.Contains(s.logs.String(), closed) {
		t.Errorf("ended with %v:\n%s", s.err, s.logs)
	}
}
