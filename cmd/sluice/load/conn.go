package load

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// writeTimeout bounds one write.
const writeTimeout = 10 * time.Second

// maxFrame bounds a frame from the server, in bytes.
const maxFrame = 4 << 20

// conn is one connection in the first dialect. It is minimal, because there are thousands: one reading
// goroutine, and no buffer in addition to that of the library. The client package resumes, decodes deltas and
// watches timeouts, and needs three goroutines for that.
type conn struct {
	gws.BuiltinEventHandler
	ws *gws.Conn
	// frame is called first, by the reading goroutine. It reports whether a frame is a message of the run, so
	// that these are handled without parsing JSON. The bytes are valid until it returns.
	frame func(frame []byte) bool

	greeted chan struct{}
	ended   chan struct{}

	mu       sync.Mutex
	socketID string
	waits    map[string]chan error // by channel; "" waits for a pong
	cause    error                 // error that the server has sent
}

// endpoint is the address of the server.
type endpoint struct {
	address, name, url string
	secure             bool
	config             *tls.Config // nil for the system's certificates
}

func newEndpoint(server, key string, config *tls.Config) (endpoint, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return endpoint{}, fmt.Errorf("%q is no address of a server", server)
	}
	e := endpoint{name: u.Hostname(), secure: u.Scheme == "https" || u.Scheme == "wss", config: config}
	scheme, port := "ws", "80"
	if e.secure {
		scheme, port = "wss", "443"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	e.address = net.JoinHostPort(e.name, port)
	e.url = scheme + "://" + u.Host + u.EscapedPath() + "/app/" + url.PathEscape(key) + "?protocol=7&client=sluice-bench&version=1"
	return e, nil
}

// dial opens a connection and returns when the server has sent its greeting. wrap, unless nil, wraps the TCP
// connection. The context bounds connecting only.
func (e *endpoint) dial(ctx context.Context, dialer *net.Dialer, wrap func(net.Conn) net.Conn, frame func([]byte) bool) (*conn, error) {
	raw, err := dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if wrap != nil {
		raw = wrap(raw)
	}
	if e.secure {
		config := e.config.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		if config.ServerName == "" {
			config.ServerName = e.name
		}
		raw = tls.Client(raw, config)
	}
	c := &conn{frame: frame, greeted: make(chan struct{}), ended: make(chan struct{}), waits: map[string]chan error{}}
	ws, answer, err := gws.NewClientFromConn(c, &gws.ClientOption{Addr: e.url, ReadMaxPayloadSize: maxFrame, RequestHeader: http.Header{}}, raw)
	if err != nil {
		_ = raw.Close()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("the server answered %q instead of opening a WebSocket", answer.Status)
		}
		return nil, err
	}
	c.ws = ws
	go ws.ReadLoop()
	select {
	case <-c.greeted:
		return c, nil
	case <-c.ended:
		return nil, c.reason()
	case <-ctx.Done():
		c.cut()
		return nil, fmt.Errorf("no greeting: %w", ctx.Err())
	}
}

// OnMessage is called by gws from the reading goroutine, like OnPing and OnClose.
func (c *conn) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.take(m.Bytes())
	_ = m.Close()
}

// OnPing answers a WebSocket ping.
func (c *conn) OnPing(_ *gws.Conn, payload []byte) {
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	_ = c.ws.WritePong(payload)
}

// OnClose fails all pending requests.
func (c *conn) OnClose(_ *gws.Conn, err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	for channel, wait := range c.waits {
		wait <- c.cause
		delete(c.waits, channel)
	}
	c.mu.Unlock()
	close(c.ended)
}

func (c *conn) take(frame []byte) {
	if c.frame(frame) {
		return
	}
	v := gjson.ParseBytes(frame)
	switch name := v.Get("event").String(); name {
	case "pusher:connection_established":
		id := gjson.Get(v.Get("data").String(), "socket_id").String()
		c.mu.Lock()
		known := c.socketID != ""
		c.socketID = id
		c.mu.Unlock()
		if id != "" && !known {
			close(c.greeted)
		}
	case "pusher_internal:subscription_succeeded":
		c.settle(v.Get("channel").String(), nil)
	case "pusher:subscription_error":
		c.settle(v.Get("channel").String(), fmt.Errorf("subscription refused: %s", said(v.Get("data"))))
	case "pusher:error":
		err := fmt.Errorf("the server says: %s", said(v.Get("data")))
		c.mu.Lock()
		c.cause = err
		c.mu.Unlock()
	case "pusher:ping":
		_ = c.send([]byte(`{"event":"pusher:pong","data":{}}`))
	case "pusher:pong":
		c.settle("", nil)
	}
}

// said returns the message in the data of an error, which some servers put into a string.
func said(data gjson.Result) string {
	if data.Type == gjson.String {
		data = gjson.Parse(data.Str)
	}
	for _, member := range []string{"message", "error"} {
		if text := data.Get(member).String(); text != "" {
			return fmt.Sprintf("%.120s (%d)", text, data.Get("code").Int())
		}
	}
	return fmt.Sprintf("%.120s", data.Raw)
}

func (c *conn) settle(channel string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.waits[channel]; wait != nil {
		wait <- err
		delete(c.waits, channel)
	}
}

// subscribe returns when the server has answered. member is the user of presence channels.
func (c *conn) subscribe(ctx context.Context, a *Target, channel string, member int) error {
	c.mu.Lock()
	id := c.socketID
	c.mu.Unlock()
	data := map[string]string{"channel": channel}
	if kind := pusher.KindOf(channel); kind.NeedsAuth() {
		about := ""
		if kind.Presence() {
			about = fmt.Sprintf(`{"user_id":"bench-%d"}`, member)
			data["channel_data"] = about
		}
		data["auth"] = a.Key + ":" + pusher.SignChannel(a.Secret.Reveal(), id, channel, about, about != "")
	}
	return c.ask(ctx, channel, map[string]any{"event": "pusher:subscribe", "data": data})
}

// leave unsubscribes and returns when the server has processed that: the protocol has no answer to it, so a ping
// follows.
func (c *conn) leave(ctx context.Context, channel string) error {
	text, err := json.Marshal(map[string]any{"event": "pusher:unsubscribe", "data": map[string]string{"channel": channel}})
	if err != nil {
		return err
	}
	if err := c.send(text); err != nil {
		return err
	}
	return c.ask(ctx, "", map[string]any{"event": "pusher:ping", "data": struct{}{}})
}

// ask sends a frame and waits until key is settled.
func (c *conn) ask(ctx context.Context, key string, frame any) error {
	text, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	wait := make(chan error, 1)
	c.mu.Lock()
	c.waits[key] = wait
	c.mu.Unlock()
	if err := c.send(text); err != nil {
		return err
	}
	select {
	case err := <-wait:
		return err
	case <-c.ended:
		return c.reason()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *conn) send(text []byte) error {
	if err := c.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.ws.WriteMessage(gws.OpcodeText, text)
}

// reason returns why the connection ended.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		return errors.New("the connection ended")
	}
	return c.cause
}

// open reports whether the connection has not ended.
func (c *conn) open() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// close sends a close frame, and waits until the reading goroutine has ended.
func (c *conn) close() {
	_ = c.ws.SetWriteDeadline(time.Now().Add(time.Second))
	_ = c.ws.WriteClose(1000, nil)
	_ = c.ws.NetConn().Close()
	<-c.ended
}

// cut closes the connection without a close frame, like a lost network.
func (c *conn) cut() {
	_ = c.ws.NetConn().Close()
	<-c.ended
}
