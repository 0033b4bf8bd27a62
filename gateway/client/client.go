package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Client is a connection to the gateway with its subscriptions. [Dial] creates it, and [Client.Close] ends it.
// Its methods are safe for concurrent use.
type Client struct {
	opt    Options
	where  endpoint
	events chan Event
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	work   sync.WaitGroup

	// decoding guards the decoder, which is used by the reading goroutine and by Unsubscribe.
	decoding sync.Mutex
	decoder  *Decoder

	positions *positions

	// speaking is held from a decision about a subscription until the server was told of it, so that the server
	// gets the requests about one channel in the order of the decisions.
	speaking sync.Mutex

	mu      sync.Mutex
	conn    *connection // nil between connections
	subs    map[string]*subscription
	deltaBy string
	err     error
}

// Dial connects, and returns when the server has sent its greeting. The context bounds connecting only. The
// error is a [*CloseError] if the server refused the client with a close code. There are no retries before the
// first success.
func Dial(ctx context.Context, opt Options) (*Client, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, err
	}
	where, err := opt.endpoint()
	if err != nil {
		return nil, err
	}
	c := &Client{
		opt: opt, where: where, events: make(chan Event, opt.Buffer), done: make(chan struct{}),
		decoder: NewDecoder(opt.Protocol, opt.MaxBases, opt.MaxFrame), subs: map[string]*subscription{},
		positions: newPositions(),
	}
	c.decoder.bases.evicted = func(channel string) { c.positions.noBase(channel, 0) }
	c.ctx, c.cancel = context.WithCancel(context.Background())
	conn, err := connect(ctx, &c.opt, where, c.receive)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.adopt(conn, false)
	c.work.Go(func() { c.run(conn) })
	return c, nil
}

// Events returns the events of all subscriptions in the order of arrival. It is closed when the client has
// ended. It stays empty if [Options.OnEvent] is set. When [Options.Buffer] events are unread, the client stops
// reading its connection, including answers of the server: read events while [Client.Subscribe] waits.
func (c *Client) Events() <-chan Event { return c.events }

// Done returns a channel that is closed when the client has ended for good.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the client has ended: [ErrClosed] or a [*CloseError]; nil until then.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// SocketID returns the id of the present connection, empty between connections.
func (c *Client) SocketID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return ""
	}
	return c.conn.socketID
}

// DeltaAlgorithm returns the delta format that the server has confirmed for the connection, empty if none.
func (c *Client) DeltaAlgorithm() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deltaBy
}

// Close ends the connection and waits until all goroutines of the client have ended. It always returns nil and
// may be called repeatedly.
func (c *Client) Close() error {
	c.cancel()
	c.work.Wait()
	return nil
}

// run handles one connection after the other until the client ends.
func (c *Client) run(conn *connection) {
	wait := backoff{least: c.opt.MinBackoff, most: c.opt.MaxBackoff}
	var err error
	for {
		began := time.Now()
		if err = c.follow(conn); c.ctx.Err() != nil {
			err = ErrClosed
			break
		}
		if time.Since(began) >= c.opt.MinBackoff {
			wait.reset() // a server that closes right after its greeting counts as a failure
		}
		if conn, err = c.comeBack(&wait, err); conn == nil {
			break
		}
	}
	c.cancel()
	c.mu.Lock()
	c.err = err
	for _, s := range c.subs {
		s.settle(err)
	}
	c.mu.Unlock()
	close(c.events)
	close(c.done)
}

// follow waits for the end of a connection and returns its error.
func (c *Client) follow(conn *connection) error {
	ping := append(append([]byte(`{"event":"`), c.opt.Protocol.Prefix()...), `ping","data":{}}`...)
	var watching sync.WaitGroup
	watching.Go(func() { conn.watch(ping, c.opt.PongTimeout) })
	select {
	case <-conn.ended:
	case <-c.ctx.Done():
		conn.close()
		<-conn.ended
	}
	watching.Wait()
	c.mu.Lock()
	c.conn, c.deltaBy = nil, ""
	c.mu.Unlock()
	return conn.err
}

// comeBack opens the next connection after err. It returns nil and the reason if the client must not or cannot
// reconnect.
func (c *Client) comeBack(wait *backoff, err error) (*connection, error) {
	for {
		var closed *CloseError
		refused := errors.As(err, &closed)
		if !c.opt.Reconnect || refused && closed.Final() {
			return nil, err
		}
		pause := wait.next(refused && closed.AtOnce())
		c.opt.Logger.Info("connection lost", "error", err, "retry", pause)
		c.status(Status{Err: err, Retry: pause})
		select {
		case <-time.After(pause):
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
		var conn *connection
		if conn, err = connect(c.ctx, &c.opt, c.where, c.receive); err == nil {
			wanted := c.adopt(conn, true)
			c.status(Status{Connected: true, SocketID: conn.socketID, Recovered: c.positions.summary()})
			c.returnTo(conn, wanted)
			return conn, nil
		}
		if c.ctx.Err() != nil {
			return nil, ErrClosed
		}
	}
}

func (c *Client) status(s Status) {
	if c.opt.OnStatus != nil {
		c.opt.OnStatus(s)
	}
}

// adopt makes conn the present connection and enables deltas. It returns the subscriptions to request on it.
// back is false for the first connection.
func (c *Client) adopt(conn *connection, back bool) []*subscription {
	c.decoding.Lock()
	if !c.resumes() {
		c.decoder.Reset()
	}
	c.decoding.Unlock()
	c.positions.open(conn.socketID, back)
	if c.opt.Delta {
		// A failed write ends the connection, which run notices.
		_ = conn.send(c.enableDelta())
	}
	c.mu.Lock()
	c.conn = conn
	var wanted, granted []*subscription
	for _, s := range c.subs {
		wanted = append(wanted, s)
		if s.done && s.err == nil {
			granted = append(granted, s)
		}
	}
	c.mu.Unlock()
	c.giveUp(conn, granted)
	return wanted
}

func (c *Client) enableDelta() []byte {
	b := append([]byte(`{"event":"`), c.opt.Protocol.Prefix()...)
	b = append(b, `enable_delta_compression","data":{"algorithms":[`...)
	for i, a := range c.opt.Algorithms {
		if i > 0 {
			b = append(b, ',')
		}
		b = pusher.AppendString(b, a)
	}
	return append(b, `]}}`...)
}

// receive handles one frame, in the reading goroutine.
func (c *Client) receive(conn *connection, text string) {
	c.decoding.Lock()
	ev, err := c.decoder.Decode(text)
	c.decoding.Unlock()
	if err != nil {
		c.undecodable(conn, err)
		return
	}
	ev.Received = time.Now()
	if ev.Form == Control {
		c.control(conn, ev)
		if ev.Channel != "" && !c.positions.wanted(ev.Channel) {
			c.forget(ev.Channel)
		}
		if c.opt.OnControl != nil {
			c.opt.OnControl(ev)
		}
		return
	}
	isNew, wanted := c.positions.event(&ev)
	if !wanted {
		c.forget(ev.Channel)
	}
	if !isNew {
		return
	}
	if c.opt.OnEvent != nil {
		c.opt.OnEvent(ev)
		return
	}
	select {
	case c.events <- ev:
	case <-c.ctx.Done():
	}
}

// forget drops the bases of a channel that is no longer subscribed.
func (c *Client) forget(channel string) {
	c.decoding.Lock()
	defer c.decoding.Unlock()
	c.decoder.Forget(channel)
}

// undecodable requests full messages after a delta that could not be decoded (protocol section 3.11).
func (c *Client) undecodable(conn *connection, err error) {
	c.opt.Logger.Warn("frame not decoded", "error", err)
	var d *DeltaError
	if errors.As(err, &d) {
		c.positions.noBase(d.Channel, d.Serial)
		_ = conn.send(c.request("delta_sync_error", d.Channel, nil))
	}
	c.status(Status{Connected: true, SocketID: conn.socketID, Err: err})
}

// request returns a frame about one channel; more adds members to its data.
func (c *Client) request(name, channel string, more func([]byte) []byte) []byte {
	b := append([]byte(`{"event":"`), c.opt.Protocol.Prefix()...)
	b = append(b, name...)
	b = append(b, `","data":{"channel":`...)
	b = pusher.AppendString(b, channel)
	if more != nil {
		b = more(b)
	}
	return append(b, `}}`...)
}

// control handles a protocol event.
func (c *Client) control(conn *connection, ev Event) {
	if name, internal := strings.CutPrefix(ev.Name, c.opt.Protocol.InternalPrefix()); internal {
		if name == "subscription_succeeded" {
			c.positions.grant(&ev)
			c.settle(ev.Channel, nil)
		}
		return
	}
	switch strings.TrimPrefix(ev.Name, c.opt.Protocol.Prefix()) {
	case "connection_established":
		if err := conn.greet(ev.Data, c.opt.ActivityTimeout); err != nil {
			c.opt.Logger.Warn("greeting not understood", "error", err)
			conn.close()
		}
	case "ping":
		_ = conn.send(append(append([]byte(`{"event":"`), c.opt.Protocol.Prefix()...), `pong","data":{}}`...))
	case "error":
		conn.said = gjson.Get(ev.Data, "message").String()
		code := gjson.Get(ev.Data, "code").Int()
		c.opt.Logger.Warn("server reports an error", "code", code, "message", conn.said)
		if code == int64(pusher.ErrorNoRecovery) {
			c.denied(conn)
		}
	case "delta_compression_enabled":
		if v := gjson.Parse(ev.Data); ev.Channel == "" && v.Get("enabled").Bool() {
			c.mu.Lock()
			c.deltaBy = v.Get("algorithm").String()
			c.mu.Unlock()
		}
	case "resume_success", "resume_failed", "rewind_complete", "snapshot_complete", "conflated":
		c.recovery(conn, ev)
	case "subscription_error":
		v := gjson.Parse(ev.Data)
		c.refused(conn, &SubscriptionError{
			Channel: ev.Channel, Kind: v.Get("type").String(), Message: v.Get("error").String(), Status: int(v.Get("status").Int()),
		})
	}
}
