package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestBackoffOfLargeBounds: before, with a least wait of half a minute, the wait overflowed after half an
// hour of tries and the client panicked.
func TestBackoffOfLargeBounds(t *testing.T) {
	for _, b := range []backoff{
		{least: 30 * time.Second, most: 5 * time.Minute}, {least: time.Hour, most: 24 * time.Hour}, {least: 1, most: 1 << 62},
		{least: time.Minute, most: time.Second},
	} {
		last := time.Duration(0)
		for try := range 200 {
			got := b.next(false)
			if floor := min(b.least, b.most); got > b.most || got < floor-floor/5 || got < last-last/5 {
				t.Fatalf("%v to %v: wait %d is %v, the one before %v", b.least, b.most, try, got, last)
			}
			last = got
		}
	}
}

// TestAServerThatGreetsAndClosesIsNotStormed: before, each greeted connection counted as a success, so that a
// server which asked clients to reconnect at once was dialled without any pause.
func TestAServerThatGreetsAndClosesIsNotStormed(t *testing.T) {
	s := newScript(t)
	states := make(chan Status, 10)
	_, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Hour, OnStatus: func(st Status) { states <- st }})
	for n := range 2 {
		if err := p.conn.WriteClose(4200, nil); err != nil {
			t.Fatal(err)
		}
		st := await(t, states, "the loss")
		if st.Connected || (st.Retry == 0) != (n == 0) {
			t.Fatalf("after %d connections: %+v", n+1, st)
		}
		if n == 0 {
			p = s.greeted()
			await(t, states, "the return")
		}
	}
}

// TestATLSHandshakeThatIsCutOff: before, the end of the context closed the variable that the handshake wrote
// to, which was nil by then.
func TestATLSHandshakeThatIsCutOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_, _ = conn.Read(make([]byte, 1))
				_, _ = conn.Read(make([]byte, 1<<16)) // until the client closes
				_ = conn.Close()
			})
		}
	})
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := Dial(ctx, Options{URL: "https://" + l.Addr().String(), Key: "k"}); err == nil {
			t.Error("a server that says nothing was connected to")
		}
		cancel()
	}
	_ = l.Close()
	all.Wait()
}

// TestATLSConfigurationThatAnHTTPClientHasUsed: such a configuration offers HTTP/2, which a WebSocket must
// not negotiate.
func TestATLSConfigurationThatAnHTTPClientHasUsed(t *testing.T) {
	spoken := make(chan string, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spoken <- r.Proto + " " + r.Header.Get("Upgrade")
		w.WriteHeader(http.StatusTeapot)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	shared := &tls.Config{RootCAs: roots}
	transport := &http.Transport{TLSClientConfig: shared, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if got := <-spoken; got != "HTTP/2.0 " || len(shared.NextProtos) == 0 {
		t.Fatalf("the HTTP client spoke %s, and offers %v", got, shared.NextProtos)
	}
	if _, err := Dial(t.Context(), Options{URL: server.URL, Key: "k", TLS: shared}); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("the client was answered %v", err)
	}
	select {
	case got := <-spoken:
		if got != "HTTP/1.1 websocket" {
			t.Errorf("the handshake was %s", got)
		}
	default:
		t.Error("no handshake arrived")
	}
}

// TestAnAnswerThatComesWithTheEndOfTheContext: before, Subscribe reported success and gave the channel up.
func TestAnAnswerThatComesWithTheEndOfTheContext(t *testing.T) {
	s := newScript(t)
	var c *Client
	var end context.CancelFunc
	c, p := s.dialled(Options{Auth: func(_, channel string) (string, string, error) {
		c.settle(channel, nil) // as an answer to an earlier request does
		end()
		return "", "", nil
	}})
	for range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		end = cancel
		err := c.Subscribe(ctx, "private-a")
		cancel()
		c.mu.Lock()
		there := c.subs["private-a"] != nil
		c.mu.Unlock()
		if (err == nil) != there {
			t.Fatalf("Subscribe says %v, and there is a subscription: %t", err, there)
		}
		p.expect(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":""}}`)
	}
}

// TestARefusalThatMayBeOfAnEarlierRequest: the server may still grant the later request, so the client
// unsubscribes.
func TestARefusalThatMayBeOfAnEarlierRequest(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{})
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- c.Subscribe(within(t), "a") }()
		p.expect(`{"event":"pusher:subscribe","data":{"channel":"a","auth":""}}`)
	}
	p.send(`{"event":"pusher:subscription_error","channel":"a","data":"{\"type\":\"ServiceUnavailable\",\"error\":\"away\",\"status\":503}"}`)
	for range 2 {
		if err := await(t, done, "Subscribe"); err == nil {
			t.Error("it was granted")
		}
	}
	p.expect(`{"event":"pusher:unsubscribe","data":{"channel":"a"}}`)
}

// TestTheServerHearsOfAChannelInOrder: many goroutines subscribe to a channel and unsubscribe. The last
// message to the server agrees with the final state of the client.
func TestTheServerHearsOfAChannelInOrder(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{})
	heard := make(chan string, 1)
	go func() {
		last := ""
		for {
			text := <-p.received
			switch gjson.Get(text, "event").Str {
			case "pusher:subscribe":
				last = "subscribed"
				p.send(`{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}`)
			case "pusher:unsubscribe":
				last = "not subscribed"
			default:
				heard <- last
				if strings.Contains(text, "the end") {
					return
				}
			}
		}
	}()
	for range 300 {
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { _ = c.Subscribe(within(t), "a") })
			all.Go(func() { _ = c.Unsubscribe("a") })
		}
		all.Wait()
		_ = c.send([]byte(`{"event":"now"}`))
		c.mu.Lock()
		want := map[bool]string{true: "subscribed", false: "not subscribed"}[c.subs["a"] != nil]
		c.mu.Unlock()
		if got := await(t, heard, "the server"); got != want {
			t.Errorf("the server has %s, the client %s", got, want)
			break
		}
	}
	_ = c.send([]byte(`{"event":"the end"}`))
	await(t, heard, "the server")
}

// TestWhatIsRefusedForTheMomentIsAskedForMoreSeldom: after each temporary refusal the client waits longer,
// until the channel is granted.
func TestWhatIsRefusedForTheMomentIsAskedForMoreSeldom(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Millisecond})
	subscribe(t, c, p, "a")
	_ = p.conn.NetConn().Close()
	p = s.greeted()
	tries := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.subs["a"].wait.tries
	}
	for n := range 4 {
		p.expect(`{"event":"pusher:subscribe","data":{"channel":"a","auth":""}}`)
		if got := tries(); got != n {
			t.Errorf("after %d refusals it waits as after %d", n, got)
		}
		p.send(`{"event":"pusher:subscription_error","channel":"a","data":"{\"type\":\"ServiceUnavailable\",\"error\":\"starting\",\"status\":503}"}`)
	}
	p.grant("a")
	p.send(`{"event":"e","channel":"a","data":"x"}`)
	await(t, c.Events(), "an event")
	if got := tries(); got != 0 {
		t.Errorf("after a success it waits as after %d refusals", got)
	}
}

// TestNothingIsKeptOfAChannelThatWasGivenUp: before, frames that arrived after the unsubscription left a
// stream and texts behind for ever.
func TestNothingIsKeptOfAChannelThatWasGivenUp(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{})
	for n := range 20 {
		channel := fmt.Sprint("c", n)
		subscribe(t, c, p, channel)
		if err := c.Unsubscribe(channel); err != nil {
			t.Fatal(err)
		}
		p.expect(`{"event":"pusher:unsubscribe","data":{"channel":"` + channel + `"}}`)
		p.send(`{"event":"pusher_internal:subscription_succeeded","channel":"`+channel+`","data":"{}","stream_id":"s","serial":1}`,
			`{"event":"e","channel":"`+channel+`","data":"x","stream_id":"s","serial":2,"sequence":2}`)
		await(t, c.Events(), "an event")
	}
	c.decoding.Lock()
	defer c.decoding.Unlock()
	if n, size := len(c.decoder.streams), c.decoder.bases.size; n > 0 || size > 0 {
		t.Errorf("%d streams and %d bytes are kept", n, size)
	}
}

// TestOneValueKeepsToTheBoundOfBases: before, the texts of one value were all kept if there was no other
// value.
func TestOneValueKeepsToTheBoundOfBases(t *testing.T) {
	b := newBases(100)
	told := 0
	b.evicted = func(string) { told++ }
	for n := range uint32(30) {
		b.keep("c", "k", n, strings.Repeat("x", 40))
		if b.size > 100 {
			t.Fatalf("%d bytes are kept after %d texts", b.size, n+1)
		}
		if _, ok := b.find("c", "k", n); !ok {
			t.Fatalf("text %d is not there", n)
		}
	}
	if told == 0 {
		t.Error("nobody was told")
	}
	b.keep("c", "k", 30, strings.Repeat("x", 400))
	if _, ok := b.find("c", "k", 30); !ok {
		t.Error("the newest text is not there")
	}
}

// TestASignatureThatComesTooLateIsOfNoConcern: Auth fails for a lost connection, after the channel was
// granted on the next one.
func TestASignatureThatComesTooLateIsOfNoConcern(t *testing.T) {
	s := newScript(t)
	asked, answer := make(chan struct{}, 1), make(chan error)
	var mu sync.Mutex
	calls := 0
	c, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Millisecond, Auth: func(string, string) (string, string, error) {
		mu.Lock()
		calls++
		first := calls == 1
		mu.Unlock()
		if first {
			asked <- struct{}{}
			return "", "", <-answer
		}
		return "", "", nil
	}})
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(t), "private-a") }()
	await(t, asked, "Auth")
	_ = p.conn.NetConn().Close()
	p = s.greeted()
	p.grant("private-a")
	p.send(`{"event":"e","channel":"private-a","data":"x"}`)
	await(t, c.Events(), "an event")
	answer <- errors.New("the connection is gone")
	if err := await(t, done, "Subscribe"); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs["private-a"] == nil {
		t.Error("the subscription is given up")
	}
}
