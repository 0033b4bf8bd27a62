package gateway_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway"
)

// TestTime04StreamThroughTheNode: a stream works below a path prefix, and a stop of the node ends it. Other
// requests are unaffected.
func TestTime04StreamThroughTheNode(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.PathPrefix = "/realtime" })
	base := "http://" + r.Addr() + "/realtime/app/key/events"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(base + "?channel=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	until := func(line string) {
		t.Helper()
		for got := ""; got != line+"\n"; {
			if got, err = in.ReadString('\n'); err != nil {
				t.Fatalf("waiting for %q: %v", line, err)
			}
		}
	}
	until("event: subscribed")
	ev := &broker.Event{Name: "hello", Data: []byte("x"), Origin: broker.OriginHTTP}
	if _, err := r.log.Publish(context.Background(), "app", broker.Outgoing{Channel: "a", Event: ev}); err != nil {
		t.Fatal(err)
	}
	until("event: hello")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, base, "", 400}, {http.MethodGet, base + "/x?channel=a", "", 426}, {http.MethodPost, base + "?channel=a", "{}", 405},
		{http.MethodOptions, base, "", 204}, {http.MethodHead, base + "?channel=a", "", 200},
		{http.MethodGet, "http://" + r.Addr() + "/app/key/events?channel=a", "", 404},
	} {
		if status, text := r.request(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s answers %d %s, want %d", c.method, c.path, status, text, c.status)
		}
	}
	r.stop()
	until("event: reconnect")
	if rest, err := io.ReadAll(in); err != nil || !strings.HasPrefix(string(rest), `data: {"code":4200,`) {
		t.Errorf("it ends with %q, %v", rest, err)
	}
}

// TestTime15AnUpgradeThatIsNotOffered: a request that offers an upgrade to another protocol than WebSocket,
// as curl with --http2 and Java's HTTP clients do, is a request like any other.
func TestTime15AnUpgradeThatIsNotOffered(t *testing.T) {
	r := run(t, nil)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		upgrade []string
		stream  bool
	}{
		{nil, true},
		{[]string{"h2c"}, true},
		{[]string{""}, true},
		{[]string{"TLS/1.0, IRC/6.9"}, true},
		{[]string{"h2c", "websockets"}, true},
		{[]string{"websocket"}, false},
		{[]string{"WebSocket"}, false},
		{[]string{"h2c, websocket"}, false},
		{[]string{"h2c", "websocket"}, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr()+"/app/key/events?channel=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Upgrade"] = c.upgrade
		if c.upgrade != nil {
			req.Header.Set("Connection", "Upgrade, HTTP2-Settings")
			req.Header.Set("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		line := ""
		if resp.StatusCode == http.StatusOK {
			line, _ = bufio.NewReader(resp.Body).ReadString('\n')
		}
		resp.Body.Close()
		if got := line == "retry: 2000\n"; got != c.stream || !c.stream && resp.StatusCode/100 != 4 {
			t.Errorf("with Upgrade %q: answered %s, %q", c.upgrade, resp.Status, line)
		}
	}
}
