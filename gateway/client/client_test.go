package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestDialSaysWhoItIs(t *testing.T) {
	s := newScript(t)
	s.url += "/prefix/"
	c, p := s.dialled(Options{})
	if got, want := p.request.URL.String(), "/prefix/app/key?protocol=7&client=sluice-go&version=1"; got != want {
		t.Errorf("requested %s, want %s", got, want)
	}
	if got := c.SocketID(); got != "1.2" {
		t.Errorf("socket id %q", got)
	}
}

func TestDialReportsTheReasonOfARefusal(t *testing.T) {
	s := newScript(t)
	failed := make(chan error, 1)
	go func() {
		_, err := Dial(within(t), Options{URL: s.url, Key: "key", Reconnect: true})
		failed <- err
	}()
	p := s.next()
	p.send(`{"event":"pusher:error","data":{"code":4001,"message":"no app with this key"}}`)
	if err := p.conn.WriteClose(4001, nil); err != nil {
		t.Fatal(err)
	}
	var closed *CloseError
	if err := await(t, failed, "Dial"); !errors.As(err, &closed) {
		t.Fatalf("got %v, want a CloseError", err)
	}
	want := &CloseError{Code: 4001, Reason: "no app with this key"}
	if diff := cmp.Diff(want, closed); diff != "" {
		t.Errorf("close error (-want +got):\n%s", diff)
	}
	if !closed.Final() {
		t.Error("4001 is not final")
	}
}

func TestDialFailures(t *testing.T) {
	s := newScript(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"without a key", Options{URL: s.url}, "Key is required"},
		{"without an address", Options{Key: "key"}, "must have a host"},
		{"with another scheme", Options{URL: "ftp://x", Key: "key"}, "must begin with"},
		{"with a query", Options{URL: "http://x/?a=b", Key: "key"}, "nothing else"},
		{"with a password", Options{URL: "http://u:hunter2@x", Key: "key"}, "nothing else"},
		{"with a password and another scheme", Options{URL: "ftp://u:hunter2@x", Key: "key"}, "must begin with"},
		{"that cannot be read", Options{URL: "http://u:hunter2 3@x", Key: "key"}, "client: URL: "},
		{"where nobody listens", Options{Host: nobody, Key: "key"}, "connection refused"},
		{"with TLS where there is none", Options{Host: strings.TrimPrefix(s.url, "http://"), Secure: true, Key: "key"}, "cannot connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Dial(within(t), c.opt)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one that contains %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a password is in %v", err)
			}
			if c.name == "where nobody listens" && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("error %v does not wrap ECONNREFUSED", err)
			}
		})
	}
}

func TestDialGivesUpOnASilentServer(t *testing.T) {
	s := newScript(t)
	_, err := Dial(within(t), Options{URL: s.url, Key: "key", HandshakeTimeout: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline error", err)
	}
}

func TestEventsComeInOrderWhateverTheirForm(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Delta: true, Algorithms: []string{"fossil"}})
	p.expect(`{"event":"pusher:enable_delta_compression","data":{"algorithms":["fossil"]}}`)
	subscribe(t, c, p, "market")
	p.send(`{"event":"pusher:delta_compression_enabled","data":{"enabled":true,"algorithm":"fossil"}}`)

	plain := `{"event":"greeting","channel":"market","data":"{\"a\":1}"}`
	full := marked("BTC", 10, 1)
	next := marked("BTC", 12, 2)
	d := deltaFrame(next, full, 12, 10, "BTC")
	p.send(plain, full, d)
	want := []Event{
		{Channel: "market", Name: "greeting", Data: `{"a":1}`, Frame: plain, Form: Plain, WireBytes: len(plain), FullBytes: len(plain)},
		{
			Channel: "market", Name: "tick", Data: data("BTC", 1), Frame: full, Form: Full, WireBytes: len(full), FullBytes: len(full),
			Number: 10, Key: "BTC", Keyed: true,
		},
		{
			Channel: "market", Name: "tick", Data: data("BTC", 2), Frame: next, Form: Delta, WireBytes: len(d), FullBytes: len(next),
			Number: 12, BaseNumber: 10, Algorithm: "fossil", Key: "BTC", Keyed: true,
		},
	}
	for i, w := range want {
		got := await(t, c.Events(), "an event")
		if got.Received.IsZero() {
			t.Errorf("event %d has no time", i)
		}
		got.Received = time.Time{}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
	}
	if got := c.DeltaAlgorithm(); got != "fossil" {
		t.Errorf("delta algorithm %q", got)
	}
}

func TestAnUndecodableDeltaIsReportedAndFullMessagesAskedFor(t *testing.T) {
	s := newScript(t)
	reports := make(chan Status, 10)
	c, p := s.dialled(Options{OnStatus: func(st Status) { reports <- st }})
	subscribe(t, c, p, "market")
	full, next := marked("BTC", 10, 1), marked("BTC", 12, 2)
	p.send(full, deltaFrame(next, full, 12, 9, "BTC"))
	p.expect(`{"event":"pusher:delta_sync_error","data":{"channel":"market"}}`)
	var failed *DeltaError
	if st := await(t, reports, "a report"); !st.Connected || !errors.As(st.Err, &failed) || failed.Base != 9 || failed.Number != 12 {
		t.Errorf("report %+v", st)
	}
	p.send(next)
	if first, second := await(t, c.Events(), "an event"), await(t, c.Events(), "an event"); first.Number != 10 || second.Number != 12 || second.Form != Full {
		t.Errorf("got %+v and %+v", first, second)
	}
}

func TestSubscribe(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Auth: func(socketID, channel string) (string, string, error) {
		if channel == "private-fails" {
			return "", "", errors.New("no such user")
		}
		return "key:signature of " + socketID, `{"user_id":"u"}`, nil
	}})
	done := make(chan error, 1)

	go func() { done <- c.Subscribe(within(t), "private-a", WithDelta(true, "xdelta3")) }()
	p.expect(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"key:signature of 1.2","channel_data":"{\"user_id\":\"u\"}","delta":"xdelta3"}}`)
	p.send(`{"event":"pusher_internal:subscription_succeeded","channel":"private-a","data":"{}"}`)
	if err := await(t, done, "Subscribe"); err != nil {
		t.Error(err)
	}

	if err := c.Subscribe(within(t), "private-fails"); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Errorf("got %v, want the error of Auth", err)
	}

	go func() { done <- c.Subscribe(within(t), "bad name", WithDelta(false, "")) }()
	p.expect(`{"event":"pusher:subscribe","data":{"channel":"bad name","auth":"","delta":false}}`)
	p.send(`{"event":"pusher:error","data":{"code":null,"message":"bad"}}`,
		`{"event":"pusher:subscription_error","channel":"bad name","data":"{\"type\":\"InvalidChannel\",\"error\":\"bad\",\"status\":400}"}`)
	var refused *SubscriptionError
	if err := await(t, done, "Subscribe"); !errors.As(err, &refused) {
		t.Errorf("got %v, want a SubscriptionError", err)
	} else if diff := cmp.Diff(&SubscriptionError{Channel: "bad name", Kind: "InvalidChannel", Message: "bad", Status: 400}, refused); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}

	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- c.Subscribe(ctx, "slow") }()
	p.expect(`{"event":"pusher:subscribe","data":{"channel":"slow","auth":""}}`)
	cancel()
	if err := await(t, done, "Subscribe"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	p.expect(`{"event":"pusher:unsubscribe","data":{"channel":"slow"}}`)

	if err := c.Unsubscribe("private-a"); err != nil {
		t.Error(err)
	}
	p.expect(`{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}`)
	if err := c.Unsubscribe("never-subscribed"); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Subscribe(within(t), "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribing after Close: %v", err)
	}
}

func TestPingsAreAnswered(t *testing.T) {
	s := newScript(t)
	_, p := s.dialled(Options{})
	p.send(`{"event":"pusher:ping","data":{}}`)
	p.expect(`{"event":"pusher:pong","data":{}}`)
}

func TestASilentServerIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	// The client checks for a sign of life after this time, which is longer than an answer takes on a busy
	// machine, and only then sends the next ping.
	_, p := s.dialled(Options{ActivityTimeout: 40 * time.Millisecond, PongTimeout: 10 * time.Second})
	for range 2 {
		p.expect(`{"event":"pusher:ping","data":{}}`)
		p.send(`{"event":"pusher:pong","data":{}}`)
	}
}

func TestASilentServerIsAskedAndLeft(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{ActivityTimeout: 40 * time.Millisecond, PongTimeout: 40 * time.Millisecond})
	p.expect(`{"event":"pusher:ping","data":{}}`)
	await(t, c.Done(), "the end of the client")
	var closed *CloseError
	if !errors.As(c.Err(), &closed) || closed.Code != 1006 || closed.Reason != "no answer to a ping" {
		t.Errorf("got error %v", c.Err())
	}
	await(t, p.gone, "the end of the connection")
}

func TestReconnectSubscribesAgain(t *testing.T) {
	s := newScript(t)
	states := make(chan Status, 10)
	c, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Millisecond, OnStatus: func(st Status) { states <- st }})
	subscribe(t, c, p, "a")
	for _, code := range []uint16{4200, 4100, 1001} {
		if err := p.conn.WriteClose(code, []byte("come back")); err != nil {
			t.Fatal(err)
		}
		var closed *CloseError
		if st := await(t, states, "the loss"); st.Connected || !errors.As(st.Err, &closed) || closed.Code != int(code) || closed.Reason != "come back" {
			t.Errorf("status after %d: %+v", code, st)
		} else if code == 4200 && st.Retry != 0 {
			t.Errorf("retry after 4200 in %v, want at once", st.Retry)
		} else if code != 4200 && st.Retry == 0 {
			t.Errorf("retry after %d without a pause", code)
		}
		p = s.greeted()
		p.grant("a")
		if st := await(t, states, "the return"); !st.Connected || st.SocketID != "1.2" {
			t.Errorf("status: %+v", st)
		}
	}
	p.send(`{"event":"e","channel":"a","data":"x"}`)
	if ev := await(t, c.Events(), "an event"); ev.Data != "x" {
		t.Errorf("got %+v", ev)
	}
}

func TestSubscribeWaitsForTheNextConnection(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(t), "a") }()
	p.expect(`{"event":"pusher:subscribe","data":{"channel":"a","auth":""}}`)
	_ = p.conn.NetConn().Close()
	p = s.greeted()
	p.grant("a")
	if err := await(t, done, "Subscribe"); err != nil {
		t.Error(err)
	}
}

func TestAGrantedSubscriptionIsAskedForUntilTheServerCan(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Reconnect: true, MinBackoff: time.Millisecond})
	subscribe(t, c, p, "a")
	_ = p.conn.NetConn().Close()
	p = s.greeted()
	for range 2 {
		p.expect(`{"event":"pusher:subscribe","data":{"channel":"a","auth":""}}`)
		p.send(`{"event":"pusher:subscription_error","channel":"a","data":"{\"type\":\"ServiceUnavailable\",\"error\":\"starting\",\"status\":503}"}`)
	}
	p.grant("a")
	p.send(`{"event":"e","channel":"a","data":"x"}`)
	await(t, c.Events(), "an event")
}

func TestAFinalCloseEndsTheClient(t *testing.T) {
	s := newScript(t)
	for _, c := range []struct {
		name      string
		reconnect bool
		code      uint16
	}{
		{"a refusal, although it may come back", true, 4009},
		{"a code that clients must not come back from", true, 4301},
		{"a restart, without leave to come back", false, 4200},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, p := s.dialled(Options{Reconnect: c.reconnect})
			if err := p.conn.WriteClose(c.code, []byte("bye")); err != nil {
				t.Fatal(err)
			}
			await(t, client.Done(), "the end of the client")
			var closed *CloseError
			if !errors.As(client.Err(), &closed) || closed.Code != int(c.code) {
				t.Errorf("got error %v", client.Err())
			}
			if _, open := <-client.Events(); open {
				t.Error("the channel of events is still open")
			}
		})
	}
}

func TestCloseWhileNobodyTakesEvents(t *testing.T) {
	s := newScript(t)
	c, p := s.dialled(Options{Buffer: 1})
	for range 5 {
		p.send(`{"event":"e","channel":"a","data":"x"}`)
	}
	await(t, c.Events(), "an event")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("got error %v", c.Err())
	}
	await(t, p.gone, "the end of the connection")
}

func TestSecondDialect(t *testing.T) {
	s := newScript(t)
	made := make(chan *Client, 1)
	go func() {
		c, err := Dial(within(t), Options{URL: s.url, Key: "key", Protocol: pusher.V2})
		if err != nil {
			t.Error(err)
		}
		made <- c
	}()
	p := s.next()
	if got := p.request.URL.Query().Get("protocol"); got != "2" {
		t.Errorf("protocol %q", got)
	}
	p.send(`{"event":"sockudo:connection_established","data":"{\"socket_id\":\"3.4\",\"activity_timeout\":120}","message_id":"m0"}`)
	c := await(t, made, "Dial")
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(t), "a") }()
	p.expect(`{"event":"sockudo:subscribe","data":{"channel":"a","auth":""}}`)
	p.send(`{"event":"sockudo_internal:subscription_succeeded","channel":"a","data":"{}"}`,
		`{"event":"e","channel":"a","data":"x","message_id":"m1","stream_id":"s","serial":9007199254740991}`)
	if err := await(t, done, "Subscribe"); err != nil {
		t.Error(err)
	}
	ev := await(t, c.Events(), "an event")
	if ev.MessageID != "m1" || ev.StreamID != "s" || ev.Serial != 9007199254740991 {
		t.Errorf("got %+v", ev)
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	b := backoff{least: time.Second, most: 30 * time.Second}
	if got := b.next(true); got != 0 {
		t.Errorf("the first wait after a request to return: %v", got)
	}
	for _, want := range []time.Duration{2, 4, 8, 16, 30, 30} {
		want *= time.Second
		if got := b.next(true); got > want || got < want-want/5 {
			t.Errorf("wait %v, want at most a fifth below %v", got, want)
		}
	}
	b.reset()
	if got := b.next(false); got > time.Second || got < 800*time.Millisecond {
		t.Errorf("wait after a success: %v", got)
	}
}

func data(key string, price int) string {
	return fmt.Sprintf(`{"symbol":%q,"price":%d,"venue":"Zürich"}`, key, price)
}

func marked(key string, number uint32, price int) string {
	return string(pusher.AppendMarked(nil, pusher.V1, &pusher.EventFrame{
		Event: "tick", Channel: "market", Data: []byte(data(key, price)), EmbedData: true,
	}, pusher.Mark{Sequence: number, Keyed: true, Key: key}))
}

func deltaFrame(target, from string, number, base uint32, key string) string {
	var e delta.Encoder
	raw := e.AppendFossil(nil, []byte(from), []byte(target))
	return fmt.Sprintf(`{"event":"pusher:delta","channel":"market","data":{"event":"tick","delta":%q,"seq":%d,"algorithm":"fossil","conflation_key":%q,"base_index":%d}}`,
		base64.StdEncoding.EncodeToString(raw), number, key, base)
}

// TestTime05ASubscriptionThatFailsIsOver: a refused request does not end an earlier subscription on the
// server, so the client has to.
func TestTime05ASubscriptionThatFailsIsOver(t *testing.T) {
	for _, kind := range []string{"refused", "not signed"} {
		t.Run(kind, func(t *testing.T) {
			s := newScript(t)
			signs := true
			c, p := s.dialled(Options{Auth: func(string, string) (string, string, error) {
				if !signs {
					return "", "", errors.New("no such user")
				}
				return "", "", nil
			}})
			defer c.Close()
			done := make(chan error, 1)
			go func() { done <- c.Subscribe(within(t), "private-a") }()
			p.grant("private-a")
			if err := await(t, done, "Subscribe"); err != nil {
				t.Fatal(err)
			}
			signs = kind == "refused"
			go func() { done <- c.Subscribe(within(t), "private-a", WithDelta(false, "")) }()
			if signs {
				p.expect(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"","delta":false}}`)
				p.send(`{"event":"pusher:subscription_error","channel":"private-a","data":"{\"type\":\"AuthError\",\"error\":\"bad\",\"status\":401}"}`)
			}
			if err := await(t, done, "Subscribe"); err == nil {
				t.Error("Subscribe did not fail")
			}
			p.expect(`{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}`)
			go func() { done <- c.Subscribe(within(t), "b") }()
			p.grant("b")
			if err := await(t, done, "Subscribe"); err != nil {
				t.Fatal(err)
			}
		})
	}
}
