package hub

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const patience = 3 * time.Minute

type (
	appT     = app.App
	patternT = app.Pattern
)

// rig is a hub behind a real listener, on the in-memory log.
type rig struct {
	t        *testing.T
	hub      *Hub
	log      broker.Log
	server   *httptest.Server
	registry *prometheus.Registry
	clock    atomic.Int64
	app      *app.App
}

func testApp() *app.App {
	return &app.App{
		ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits,
		Delta: app.Delta{Enabled: true, Algorithm: app.Fossil, Interval: 10, MinSize: 100, MaxAgeSeconds: 300, MaxKeys: 100, DeliverTags: true},
	}
}

func newRig(t *testing.T, change func(*Options, *app.App)) *rig {
	t.Helper()
	a := testApp()
	r := &rig{t: t, app: a, registry: prometheus.NewRegistry()}
	r.clock.Store(time.Now().UnixNano())
	opt := Options{
		Metrics:      NewMetrics(r.registry, "sockudo_", "1", 1000),
		DeltaEnabled: true, Shards: 2, Linger: 200 * time.Millisecond,
		SweepInterval: time.Hour,
		Now:           func() time.Time { return time.Unix(0, r.clock.Load()) },
	}
	disabled := &app.App{ID: "off", Key: "off-key", Limits: app.DefaultLimits}
	if change != nil {
		change(&opt, a)
	}
	opt.Apps = app.NewRegistry(a, disabled)
	r.log = newMemory(t, "app")
	if opt.Feed == nil {
		opt.Feed = r.log
	}
	if opt.Publisher == nil {
		opt.Publisher = r.log
	}
	h, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r.hub = h
	r.server = httptest.NewServer(h)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("closing the hub: %v", err)
		}
		if n := h.hall.Catching.Load(); n != 0 {
			t.Errorf("without any socket %d subscriptions are behind", n)
		}
		if n := h.hall.Sockets.Budget().Bytes(); n != 0 {
			t.Errorf("without any socket %d bytes wait for sockets", n)
		}
		r.server.Close()
		// The goroutine of a handshake that was in progress rejects it a moment later.
		for _, gauge := range []string{"connected", "event_streams", "subscriptions", "filters_bytes"} {
			eventually(t, "without any socket "+gauge+" is 0", func() bool { return metricValue(t, r.registry, "sockudo_"+gauge, nil) == 0 })
		}
		if err := r.log.Close(); err != nil {
			t.Errorf("closing the log: %v", err)
		}
	})
	return r
}

func newMemory(t *testing.T, apps ...string) broker.Log {
	t.Helper()
	l, err := memory.New(memory.Options{Apps: apps})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (r *rig) publish(channel, name, data string, change ...func(*broker.Event)) broker.Receipt {
	r.t.Helper()
	ev := &broker.Event{Name: name, Data: []byte(data), Origin: broker.OriginHTTP}
	for _, f := range change {
		f(ev)
	}
	got, err := r.log.Publish(context.Background(), "app", broker.Outgoing{Channel: channel, Event: ev})
	if err != nil {
		r.t.Fatal(err)
	}
	return got[0]
}

// peer is a bare WebSocket client that shows the exact frames.
type peer struct {
	t      *testing.T
	conn   net.Conn
	header http.Header // of the response to the handshake
	frames chan frame
	ended  chan struct{}
	code   int
	reason string
	gate   sync.Mutex // held while the peer does not read
}

type frame struct {
	op      byte
	payload string
	wire    int
}

// message is a decoded text frame.
type message struct {
	Event     string          `json:"event"`
	Channel   string          `json:"channel"`
	Data      json.RawMessage `json:"data"`
	MessageID string          `json:"message_id"`
	StreamID  string          `json:"stream_id"`
	Serial    uint64          `json:"serial"`
	Sequence  *int64          `json:"sequence"`
	Key       *string         `json:"conflation_key"`
	text      string
}

// str returns the data as a string, for doubly encoded frames.
func (m message) str() string {
	var s string
	_ = json.Unmarshal(m.Data, &s)
	return s
}

// dial opens a connection without waiting for the first frame. early is sent in the same packet as the
// handshake.
func (r *rig) dial(path string, early ...byte) *peer {
	r.t.Helper()
	return dialAddress(r.t, strings.TrimPrefix(r.server.URL, "http://"), path, early...)
}

func dialAddress(t *testing.T, address, path string, early ...byte) *peer {
	t.Helper()
	return dialHeader(t, address, path, "", early...)
}

// dialHeader is like dialAddress, with further header lines in the handshake.
func dialHeader(t *testing.T, address, path, lines string, early ...byte) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn, frames: make(chan frame, 100000), ended: make(chan struct{})}
	t.Cleanup(p.hangUp)
	handshake := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + lines + "\r\n"
	if _, err := conn.Write(append([]byte(handshake), early...)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake answered %s", resp.Status)
	}
	_ = conn.SetReadDeadline(time.Time{})
	p.header = resp.Header
	go p.read(br)
	return p
}

func (p *peer) hangUp() { _ = p.conn.Close(); <-p.ended }

func (p *peer) read(br *bufio.Reader) {
	defer close(p.ended)
	defer close(p.frames)
	for {
		p.waitAtGate()
		f, err := readFrame(br)
		if err != nil {
			return
		}
		if f.op == websocket.Close {
			if len(f.payload) >= 2 {
				p.code, p.reason = int(binary.BigEndian.Uint16([]byte(f.payload))), f.payload[2:]
			}
			_, _ = p.conn.Write(masked(websocket.Close, []byte(f.payload)))
			return
		}
		p.frames <- f
	}
}

// waitAtGate returns once the peer is not paused. A paused peer may still take the one frame that it was
// waiting for.
func (p *peer) waitAtGate() {
	p.gate.Lock()
	defer p.gate.Unlock()
}

func (p *peer) pause()  { p.gate.Lock() }
func (p *peer) resume() { p.gate.Unlock() }

func readFrame(br *bufio.Reader) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(br, head[:]); err != nil {
		return frame{}, err
	}
	n, wire := int(head[1]), 2
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(br, b[:]); err != nil {
			return frame{}, err
		}
		n, wire = int(binary.BigEndian.Uint16(b[:])), 4
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(br, b[:]); err != nil {
			return frame{}, err
		}
		n, wire = int(binary.BigEndian.Uint64(b[:])), 10
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(br, payload); err != nil {
		return frame{}, err
	}
	return frame{op: head[0] & 0xf, payload: string(payload), wire: wire + n}, nil
}

// masked makes a client frame with an all-zero mask, which leaves the payload readable.
func masked(op byte, payload []byte) []byte {
	b := []byte{websocket.Fin | op}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	p.raw(masked(websocket.Text, fmt.Appendf(nil, format, args...)))
}

// frame waits for the next frame of any kind.
func (p *peer) frame() frame {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if !ok {
			p.t.Fatalf("connection ended with code %d (%s) instead of a frame", p.code, p.reason)
		}
		return f
	case <-time.After(patience):
		p.t.Fatal("no frame came")
	}
	panic("unreachable")
}

// next waits for the next text frame and decodes it.
func (p *peer) next() message {
	p.t.Helper()
	f := p.frame()
	if f.op != websocket.Text {
		p.t.Fatalf("got a frame with opcode %d, want text", f.op)
	}
	m := message{text: f.payload}
	if err := json.Unmarshal([]byte(f.payload), &m); err != nil {
		p.t.Fatalf("frame %s: %v", f.payload, err)
	}
	return m
}

// want waits for the next text frame and checks its event.
func (p *peer) want(event string) message {
	p.t.Helper()
	m := p.next()
	if m.Event != event {
		p.t.Fatalf("got %s, want event %s", m.text, event)
	}
	return m
}

// closed waits for the end of the connection and returns the close code, 0 if there was none.
func (p *peer) closed() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		p.t.Fatal("the connection did not end")
	}
	panic("unreachable")
}

// usable checks that the connection is alive and that no other frame is queued before the answer.
func (p *peer) usable() {
	p.t.Helper()
	p.say(`{"event":"pusher:ping","data":{}}`)
	p.want("pusher:pong")
}

// connect opens a V1 connection and returns its socket id.
func (r *rig) connect() (*peer, string) {
	r.t.Helper()
	p := r.dial("/app/key?protocol=7&client=js&version=8.6.0&flash=false")
	return p, established(r.t, p.want("pusher:connection_established"))
}

func established(t *testing.T, m message) string {
	t.Helper()
	var data struct {
		SocketID        string `json:"socket_id"`
		ActivityTimeout int    `json:"activity_timeout"`
	}
	if err := json.Unmarshal([]byte(m.str()), &data); err != nil || data.SocketID == "" || data.ActivityTimeout == 0 {
		t.Fatalf("connection_established %s: %v", m.text, err)
	}
	return data.SocketID
}

// subscribed opens a V1 connection, with deltas if wanted, and subscribes.
func (r *rig) subscribed(channel string, deltas bool) *peer {
	r.t.Helper()
	p, _ := r.connect()
	if deltas {
		p.say(`{"event":"pusher:enable_delta_compression","data":{"algorithms":["fossil"]}}`)
		p.want("pusher:delta_compression_enabled")
	}
	p.subscribe(channel)
	return p
}

func (p *peer) subscribe(channel string) {
	p.t.Helper()
	p.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":%q}}`, channel)
	if m := p.want("pusher_internal:subscription_succeeded"); m.Channel != channel {
		p.t.Fatalf("got success for %q, want %q", m.Channel, channel)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}
