package client

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. Only a failing test waits that long.
const patience = 3 * time.Minute

// script is a server whose frames the test writes, on real sockets.
type script struct {
	t     *testing.T
	url   string
	peers chan *peer
}

// peer is the server's end of one connection.
type peer struct {
	gws.BuiltinEventHandler
	t        *testing.T
	conn     *gws.Conn
	request  *http.Request
	received chan string
	gone     chan error
}

func (p *peer) OnMessage(_ *gws.Conn, m *gws.Message) {
	p.received <- string(m.Bytes())
	_ = m.Close()
}

func (p *peer) OnClose(_ *gws.Conn, err error) { p.gone <- err }

func newScript(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, peers: make(chan *peer, 10)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/app/") {
			http.NotFound(w, r)
			return
		}
		p := &peer{t: t, request: r, received: make(chan string, 100), gone: make(chan error, 1)}
		conn, err := gws.NewUpgrader(p, nil).Upgrade(w, r)
		if err != nil {
			return
		}
		p.conn = conn
		s.peers <- p
		conn.ReadLoop()
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// next returns the next connection of a client.
func (s *script) next() *peer {
	s.t.Helper()
	return await(s.t, s.peers, "a connection")
}

// greeted returns the next connection, after connection_established.
func (s *script) greeted() *peer {
	s.t.Helper()
	p := s.next()
	p.send(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}`)
	return p
}

func (p *peer) send(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if err := p.conn.WriteString(text); err != nil {
			p.t.Errorf("the server cannot write: %v", err)
		}
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	if got := await(p.t, p.received, "the frame "+want); got != want {
		p.t.Fatalf("got frame %s, want %s", got, want)
	}
}

// grant answers a subscription to channel.
func (p *peer) grant(channel string) {
	p.t.Helper()
	p.expect(`{"event":"pusher:subscribe","data":{"channel":"` + channel + `","auth":""}}`)
	p.send(`{"event":"pusher_internal:subscription_succeeded","channel":"` + channel + `","data":"{}"}`)
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dialled returns a client of the script and its connection.
func (s *script) dialled(opt Options) (*Client, *peer) {
	s.t.Helper()
	opt.URL, opt.Key = s.url, "key"
	type result struct {
		c   *Client
		err error
	}
	made := make(chan result, 1)
	go func() {
		c, err := Dial(within(s.t), opt)
		made <- result{c, err}
	}()
	p := s.greeted()
	r := await(s.t, made, "Dial")
	if r.err != nil {
		s.t.Fatal(r.err)
	}
	s.t.Cleanup(func() {
		if err := r.c.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return r.c, p
}

// subscribe subscribes c to channel at p.
func subscribe(t *testing.T, c *Client, p *peer, channel string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(within(t), channel) }()
	p.grant(channel)
	if err := await(t, done, "Subscribe"); err != nil {
		t.Fatal(err)
	}
}
