package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"github.com/tidwall/gjson"
)

// writeTimeout bounds one write. The client sends little, so a server that blocks a write for so long is
// considered dead.
const writeTimeout = 10 * time.Second

// connection is one WebSocket from its handshake to its end.
type connection struct {
	gws.BuiltinEventHandler
	conn *gws.Conn
	// receive is called for each text, by the reading goroutine.
	receive func(c *connection, text string)
	heard   atomic.Int64 // time of the last received data, Unix nanoseconds
	busy    atomic.Bool  // the reading goroutine is in receive
	silent  atomic.Bool  // closed because a ping was not answered
	// established is closed when the greeting has set socketID and activity.
	established chan struct{}
	socketID    string
	activity    time.Duration
	// ended is closed when reading has ended; err is then set.
	ended chan struct{}
	err   *CloseError
	said  string // message of the last protocol error; for the reading goroutine only
}

// connect opens a connection and starts its reading goroutine. It returns when the server has sent its greeting.
// The caller must wait for ended of a returned connection.
func connect(ctx context.Context, opt *Options, e endpoint, receive func(*connection, string)) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, opt.HandshakeTimeout)
	defer cancel()
	c := &connection{receive: receive, established: make(chan struct{}), ended: make(chan struct{})}
	raw, err := opt.Dial(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", e.address, err)
	}
	// Closing the connection interrupts the handshakes. secure replaces raw, so the original is kept.
	below := raw
	stop := context.AfterFunc(ctx, func() { _ = below.Close() })
	defer stop()
	if e.secure {
		if raw, err = secure(ctx, raw, opt.TLS, e.name); err != nil {
			return nil, fmt.Errorf("cannot connect to %s: %w", e.address, err)
		}
	}
	conn, response, err := gws.NewClientFromConn(c, &gws.ClientOption{
		Addr: e.url, ReadMaxPayloadSize: opt.MaxFrame, CheckUtf8Enabled: true,
		HandshakeTimeout: opt.HandshakeTimeout, RequestHeader: http.Header{},
	}, raw)
	if err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s has not opened a WebSocket in time: %w", e.address, ctx.Err())
		}
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, fmt.Errorf("%s answered %q instead of opening a WebSocket", e.url, response.Status)
		}
		return nil, fmt.Errorf("WebSocket handshake with %s: %w", e.address, err)
	}
	c.conn = conn
	go conn.ReadLoop()
	select {
	case <-c.established:
		return c, nil
	case <-c.ended:
		return nil, c.err
	case <-ctx.Done():
		c.close()
		<-c.ended
		return nil, fmt.Errorf("no greeting from %s: %w", e.address, ctx.Err())
	}
}

func secure(ctx context.Context, raw net.Conn, config *tls.Config, name string) (net.Conn, error) {
	if config = config.Clone(); config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName = name
	}
	// A WebSocket handshake is HTTP/1.1. A configuration that an HTTP client has used before offers HTTP/2,
	// because net/http adds that to it.
	config.NextProtos = []string{"http/1.1"}
	t := tls.Client(raw, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return t, nil
}

// gws calls OnOpen, OnMessage, OnPing, OnPong and OnClose from the reading goroutine.
func (c *connection) OnOpen(*gws.Conn) { c.touch() }

func (c *connection) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.touch()
	text := string(m.Bytes())
	_ = m.Close()
	c.busy.Store(true)
	c.receive(c, text)
	c.touch()
	c.busy.Store(false)
}

func (c *connection) OnPing(_ *gws.Conn, payload []byte) {
	c.touch()
	_ = c.deadline()
	_ = c.conn.WritePong(payload)
}

func (c *connection) OnPong(*gws.Conn, []byte) { c.touch() }

func (c *connection) OnClose(_ *gws.Conn, err error) {
	c.err = closeError(err, c.said)
	if c.silent.Load() {
		c.err = &CloseError{Code: lost, Reason: "no answer to a ping"}
	}
	close(c.ended)
}

func (c *connection) touch() { c.heard.Store(time.Now().UnixNano()) }

func (c *connection) deadline() error {
	return c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
}

// send writes one text. It is safe for concurrent use.
func (c *connection) send(text []byte) error {
	if err := c.deadline(); err != nil {
		return err
	}
	return c.conn.WriteMessage(gws.OpcodeText, text)
}

// close sends a close frame, which ends the connection.
func (c *connection) close() {
	_ = c.deadline()
	_ = c.conn.WriteClose(1000, nil)
}

// greet handles the server's greeting (protocol section 1.3). A second greeting is ignored.
func (c *connection) greet(data string, most time.Duration) error {
	if c.socketID != "" {
		return nil
	}
	v := gjson.Parse(data)
	id := v.Get("socket_id").String()
	if id == "" {
		return errors.New("the greeting has no socket id")
	}
	c.socketID, c.activity = id, most
	if s := v.Get("activity_timeout").Int(); s > 0 && s < int64(most/time.Second) {
		c.activity = time.Duration(s) * time.Second
	}
	close(c.established)
	return nil
}

// watch pings a silent server, and closes the connection if there is no answer. It returns when the connection
// has ended.
func (c *connection) watch(ping []byte, patience time.Duration) {
	timer := time.NewTimer(c.activity)
	defer timer.Stop()
	var asked int64 // value of heard at the last ping
	for {
		select {
		case <-c.ended:
			return
		case <-timer.C:
		}
		heard := c.heard.Load()
		silent := time.Since(time.Unix(0, heard))
		switch {
		case silent < c.activity:
			timer.Reset(c.activity - silent)
		case c.busy.Load():
			// Nothing is read while receive blocks, which is not the fault of the server.
			timer.Reset(c.activity)
		case asked == heard:
			c.silent.Store(true)
			_ = c.conn.NetConn().Close()
			<-c.ended
			return
		default:
			asked = heard
			if c.send(ping) != nil {
				<-c.ended
				return
			}
			timer.Reset(patience)
		}
	}
}
