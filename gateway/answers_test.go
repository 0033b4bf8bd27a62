package gateway_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/web"
)

// hurried returns a node with short timeouts for everything except headers, whose timeout is header.
func hurried(t *testing.T, header time.Duration) (r *running, log broker.Log) {
	r, _ = runApps(t, func(o *gateway.Options) {
		log = o.Log
		const short = 100 * time.Millisecond
		o.HeaderTimeout, o.BodyTimeout, o.PublishTimeout, o.AnswerTimeout, o.IdleTimeout = header, short, short, short, short
		o.Unsigned = true
		o.Page = web.Handler(web.Options{AppID: "app", AppKey: "app-key"})
	})
	return r, log
}

func store(t *testing.T, log broker.Log, data string) {
	t.Helper()
	if _, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "n", Data: []byte(data)}}); err != nil {
		t.Fatal(err)
	}
}

// TestTrust11NobodyHasToWaitForAReader sends requests and reads no response, until the kernel takes no more
// of them. The server must not wait for ever, with a goroutine and buffers for each such connection.
func TestTrust11NobodyHasToWaitForAReader(t *testing.T) {
	r, log := hurried(t, 200*time.Millisecond) // the kernels of both ends may stop in the middle of a header
	store(t, log, strings.Repeat("x", 9000))
	until(t, "nobody is served", func() bool { return serving() == 0 })
	const version = " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, c := range map[string]struct{ address, request string }{
		"history":          {r.Addr(), "GET /apps/app/channels/c/history" + version},
		"readiness":        {r.Addr(), "GET /ready" + version},
		"the console page": {r.Addr(), "GET /" + version},
		"metrics":          {r.MetricsAddr(), "GET /metrics" + version},
	} {
		t.Run(name, func(t *testing.T) {
			var conn net.Conn
			until(t, "an answer begins", func() bool {
				var err error
				if conn, err = net.Dial("tcp", c.address); err != nil {
					t.Fatal(err)
				}
				_ = conn.(*net.TCPConn).SetReadBuffer(4096)
				newLine(t, conn).say(c.request)
				_, err = conn.Read(make([]byte, 1))
				return err == nil
			})
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				var err error
				for many := []byte(strings.Repeat(c.request, 20)); err == nil; {
					_, err = conn.Write(many)
				}
			}()
			defer func() {
				_ = conn.Close()
				<-asked
			}()
			// The client learns of the close only when its kernel gives up sending.
			until(t, "the server does not wait any more", func() bool { return serving() == 0 })
		})
	}
}

// serving returns the number of goroutines that serve requests.
func serving() int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "net/http.(*conn).serve(")
}

// TestTrust11SilenceBetweenRequestsIsBounded: on both ports an idle connection and an unfinished header end,
// and a header that is too long is refused.
func TestTrust11SilenceBetweenRequestsIsBounded(t *testing.T) {
	r, _ := hurried(t, 200*time.Millisecond)
	slow, _ := runApps(t, func(o *gateway.Options) { o.HeaderTimeout = patience })
	for name, address := range map[string]string{"main": r.Addr(), "metrics": r.MetricsAddr()} {
		for what, begin := range map[string]string{
			"silence": "", "half a header": "GET / HTTP/1.1\r\nHost: loc", "a kept connection": "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
		} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			l := newLine(t, conn)
			l.say(begin)
			l.ended()
			t.Logf("%s, %s: ended", name, what)
		}
	}
	for name, address := range map[string]string{"main": slow.Addr(), "metrics": slow.MetricsAddr()} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		l := newLine(t, conn)
		go l.say("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10))
		if resp, _ := l.answer(); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: a header of 64 KiB: got %d", name, resp.StatusCode)
		}
	}
}

// TestTrust11WebSocketsOutliveTheTimesForAnswers: the timeouts of requests do not apply to a hijacked
// connection.
func TestTrust11WebSocketsOutliveTheTimesForAnswers(t *testing.T) {
	r, log := hurried(t, patience)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var c *client.Client
	until(t, "a handshake ends within those times", func() (ok bool) {
		var err error
		c, err = client.Dial(ctx, client.Options{URL: "http://" + r.Addr(), Key: "app-key"})
		return err == nil
	})
	defer func() { _ = c.Close() }()
	if err := c.Subscribe(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < time.Second; {
		store(t, log, "d")
		select {
		case <-c.Events():
		case <-c.Done():
			t.Fatalf("the connection ended: %v", c.Err())
		case <-ctx.Done():
			t.Fatal("an event did not arrive")
		}
	}
}

// TestTrust11UnreadAnswersShareABound has an app request its history and not read the response. The bytes
// that the server holds for it are bounded, and another app is not held up.
func TestTrust11UnreadAnswersShareABound(t *testing.T) {
	const most = 4 << 20
	var log broker.Log
	r, registry := runApps(t, func(o *gateway.Options) {
		log = o.Log
		o.MaxBody, o.MaxBodies, o.AnswerTimeout = most/4, most, time.Hour
	})
	for _, id := range []string{"app", "other"} {
		for range 16 {
			event := &broker.Event{Name: "n", Data: []byte(strings.Repeat("x", 800<<10))}
			if _, err := log.Publish(t.Context(), id, broker.Outgoing{Channel: "c", Event: event}); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := func() float64 { return gauge(t, registry, "sockudo_http_answer_bytes") }
	ask := func(id, limit string) *line {
		return r.dial("GET " + signed(id, "GET", "/channels/c/history", func(q url.Values) { q.Set("limit", limit) }) + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	// It is larger than the buffers of both ends of the connection, and than the room of its app.
	unread := ask("app", "16")
	until(t, "an answer waits", func() bool { return held() == most/2 })
	resp, text := ask("app", "1").answer()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "http.max_bodies") {
		t.Errorf("beyond the room: got %d %.200s %v", resp.StatusCode, text, resp.Header)
	}
	if got := gauge(t, registry, "sockudo_limits_total", "limit=answers", "app_id=app"); got != 1 {
		t.Errorf("%v refusals were counted, want 1", got)
	}
	if resp, _ := ask("other", "1").answer(); resp.StatusCode != http.StatusOK {
		t.Errorf("another app: got %d", resp.StatusCode)
	}
	_ = unread.conn.Close()
	until(t, "there is room again", func() bool { return held() == 0 })
	if resp, _ := ask("app", "2").answer(); resp.StatusCode != http.StatusOK {
		t.Errorf("with room again: got %d", resp.StatusCode)
	}
}
