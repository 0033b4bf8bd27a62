package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// session is one subscription of a socket from its success to its end, with the events in between.
type session struct {
	channel, socket string
	got             []arrival
}

// arrival is an event, or a notice that a number of events was skipped.
type arrival struct {
	id, data string
	skipped  int
	form     client.Form
}

// socket is a client that a test drives by hand: it may stop reading and request resyncs, and it records
// every subscription.
type socket struct {
	gws.BuiltinEventHandler
	dialect pusher.Dialect
	conn    *gws.Conn
	decoder *client.Decoder
	done    chan struct{}
	gate    sync.RWMutex // write-locked while the socket does not read

	mu       sync.Mutex
	id       string
	open     map[string]*session
	sessions []*session
	closed   uint16
	errs     []error
	pings    int // pings sent as frames
}

// dialSocket connects to a gateway. Small buffers make the gateway notice soon that it does not read.
func dialSocket(t *testing.T, n *node, a *app.App, d pusher.Dialect) *socket {
	t.Helper()
	s := &socket{dialect: d, decoder: client.NewDecoder(d, 64<<20, 4<<20), done: make(chan struct{}), open: map[string]*session{}}
	protocol := "7"
	if d == pusher.V2 {
		protocol = "2"
	}
	raw, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).SetReadBuffer(4096)
	s.conn, _, err = gws.NewClientFromConn(s, &gws.ClientOption{
		Addr: "ws://" + n.Addr() + "/app/" + a.Key + "?protocol=" + protocol, HandshakeTimeout: patience, ReadMaxPayloadSize: 4 << 20,
	}, raw)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.conn.ReadLoop()
	}()
	eventually(t, "the connection is established", func() bool { return s.name() != "" || s.ended() })
	return s
}

func (s *socket) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

func (s *socket) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// say sends a request in the socket's dialect. Errors are ignored: done shows that the connection has ended.
func (s *socket) say(event, data string) {
	_ = s.conn.WriteString(fmt.Sprintf(`{"event":"%s%s","data":%s}`, s.dialect.Prefix(), event, data))
}

func (s *socket) OnClose(_ *gws.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := err.(*gws.CloseError); ok {
		s.closed = e.Code
	}
}

func (s *socket) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (s *socket) OnMessage(_ *gws.Conn, m *gws.Message) {
	s.gate.RLock()
	text := string(m.Bytes())
	s.gate.RUnlock()
	_ = m.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.decoder.Decode(text)
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%w: %.300s", err, text))
		return
	}
	if e.Form == client.Control {
		s.control(text)
		return
	}
	at := s.open[e.Channel]
	if at == nil {
		s.errs = append(s.errs, fmt.Errorf("an event of %s, which is not subscribed: %.300s", e.Channel, text))
		return
	}
	var d struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal([]byte(e.Data), &d)
	at.got = append(at.got, arrival{id: d.ID, data: e.Data, form: e.Form})
}

func (s *socket) control(text string) {
	var m struct {
		Event, Channel string
		Data           json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		s.errs = append(s.errs, err)
		return
	}
	_, event, _ := strings.Cut(m.Event, ":")
	switch event {
	case "ping":
		s.pings++
		s.say("pong", "{}")
	case "connection_established":
		var inner string
		var d struct {
			SocketID string `json:"socket_id"`
		}
		_ = json.Unmarshal(m.Data, &inner)
		_ = json.Unmarshal([]byte(inner), &d)
		s.id = d.SocketID
	case "subscription_succeeded":
		at := &session{channel: m.Channel, socket: s.id}
		s.open[m.Channel] = at
		s.sessions = append(s.sessions, at)
	case "conflated":
		var d struct{ Skipped int }
		_ = json.Unmarshal(m.Data, &d)
		if at := s.open[m.Channel]; at != nil {
			at.got = append(at.got, arrival{skipped: d.Skipped})
		}
	}
}

// leave unsubscribes. Events in flight still belong to the subscription that ends.
func (s *socket) leave(channel string) {
	s.say("unsubscribe", fmt.Sprintf(`{"channel":%q}`, channel))
}

// pause stops reading until resume is called.
func (s *socket) pause() (resume func()) {
	s.gate.Lock()
	return s.gate.Unlock
}

func (s *socket) close() {
	_ = s.conn.WriteClose(1000, nil)
	select {
	case <-s.done:
	case <-time.After(patience):
	}
	_ = s.conn.NetConn().Close()
}
