package hub

import (
	"fmt"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/filters"
	"github.com/sluicehq/sluice/gateway/pace"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/turns"
)

// Client is one connection. Fields without another note belong to its reading goroutine.
type Client struct {
	hub *Hub
	// tenant is the app as it was when the connection was accepted, see [Client.app].
	tenant *app.App
	shard  *fanout.Shard
	sock   *socket.Socket
	ws     *gws.Conn
	guard  *websocket.Guard
	id     string
	// address is that of the client, as far as the proxies in between are trusted.
	address string
	dialect pusher.Dialect
	// silent: a V2 connection does not want its own client events.
	silent bool
	// deflates: the peer accepts compressed messages.
	deflates bool
	// refused, if not 0, is the code with which the connection is closed. A refused connection takes part in
	// nothing.
	refused pusher.CloseCode
	// authorized is set once the connection has signed in or joined a channel that requires a signature, and
	// already while it joins the first such channel. began is when the connection was accepted.
	authorized atomic.Bool
	began      time.Time

	delta deltaState
	// signed is the user that the connection has signed in as, nil before.
	signed *identity
	// events is the rate limit of client events; nil before the first one.
	events *rate.Limiter
	// mistakes is the rate limit of answers to unknown events; nil before the first one.
	mistakes *rate.Limiter
	pace     paces
	asks     turns.Asker
	queued   atomic.Bool // a request of the connection waits for its turn, and nothing is read meanwhile
	// recovery is nil for a connection that cannot get missed publications.
	recovery *recovery
	// places are the positions of the reader of an event stream; nil for others.
	places *fanout.Places
	// pages counts the pages of history that are being read for the connection.
	pages atomic.Int32
	// filters are those of the connection's subscriptions.
	filters filters.Own
	joined  []membership

	// pinged belongs to the sweep. It is when a silent peer was sent a ping, in Unix nanoseconds, 0 if it was
	// not. For an event stream it is when the last comment was sent.
	pinged int64
	// again says when to end the connection because its client would not repeat a request that was refused
	// for a moment only.
	again turns.Anew
}

// app returns the present state of the connection's app, nil if there is none.
func (c *Client) app() *app.App { return c.tenant.Now() }

// membership is a subscription as its connection knows it.
type membership struct {
	channel *Channel
	filter  *pusher.Filter
	// began is the offset from which on the subscription was first live. attach is the position at which it
	// was last granted, and told the serial of that position in the success frame.
	began, told uint64
	attach      broker.Position
	// rare is nil for most subscriptions, which saves memory.
	rare     *rare
	delta    pusher.DeltaRequest
	welcomed bool
}

// rare is the state that only few subscriptions need.
type rare struct {
	// member is the user id of the connection in a presence channel.
	member  string
	resyncs pace.Window
}

// member returns the user id of the connection in a presence channel, empty in other channels.
func (m *membership) member() string {
	if m.rare == nil {
		return ""
	}
	return m.rare.member
}

// send queues a frame for this connection. A connection that accepts no more frames ignores it.
func (c *Client) send(f *socket.Frame) { c.places.Send(c.sock, f) }

// control queues a protocol frame.
func (c *Client) control(f pusher.Control) { c.send(c.frameOf(f)) }

// frameOf returns a protocol frame for connections of the same dialect.
func (c *Client) frameOf(f pusher.Control) *socket.Frame {
	if c.dialect == pusher.V2 && f.Event != "ping" {
		f.MessageID = c.hub.messageID()
	}
	return fanout.ControlFrame(c.dialect, len(f.Text)+len(f.Object)+len(f.Channel)+128, &f)
}

// fail answers with an error event; the connection continues.
func (c *Client) fail(code pusher.ErrorCode, format string, args ...any) {
	c.control(pusher.Control{Event: "error", Object: pusher.AppendErrorData(nil, code, fmt.Sprintf(format, args...))})
}

// end queues an error event and a close frame behind everything that waits, and closes the connection after
// them.
func (c *Client) end(code pusher.CloseCode) { c.endSaying(code, code.Message()) }

func (c *Client) endSaying(code pusher.CloseCode, reason string) {
	c.places.End(c.sock, fanout.CloseFrames(c.dialect, code, reason))
}

// ended is deferred by the goroutine that reads the connection. A panic ends only this connection.
//
// This goroutine is in a read most of the time, and each call on the way there uses stack: with less than
// about 1,200 bytes in use, the runtime shrinks an idle stack to 4 KiB, otherwise it keeps 8 KiB.
func (c *Client) ended() {
	if cause := recover(); cause != nil {
		c.hub.opt.Metrics.panicked()
		c.hub.failures.Error(c.hub.opt.Logger, "panic", "connection ended by a panic while reading", "socket_id", c.id,
			"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
	defer c.hub.clients.Done()
	c.leave()
}

// leave reverses everything that the connection did, gives the peer a moment to read the last frames, and
// closes the connection.
func (c *Client) leave() {
	c.letGo()
	if c.guard != nil {
		c.guard.Settle()
	}
	for _, m := range c.joined {
		c.drop(&m)
	}
	c.joined = nil
	c.signOut()
	c.sock.Linger()
	c.hub.connections[c.shard.ID].remove(c)
	c.sock.Retire()
	c.hub.left(c)
}

// drop ends a subscription.
func (c *Client) drop(m *membership) {
	m.channel.drop(c, m.member())
	c.unhold(m.channel)
	c.setFilter(m, nil)
}

// setFilter gives a subscription a filter that was taken from the pool, or none.
func (c *Client) setFilter(m *membership, f *pusher.Filter) {
	c.filters.Swap(f, m.filter)
	c.hub.filters.Drop(m.filter)
	m.filter = f
}

// established sends the first frame of an accepted connection.
func (c *Client) established() {
	data := `{"socket_id":"` + c.id + `","activity_timeout":` + strconv.Itoa(int(c.hub.opt.ActivityTimeout/time.Second)) + `}`
	c.control(pusher.Control{Event: "connection_established", Text: data})
}

// events connects the WebSocket library to the client, which is stored as the session of each connection.
type events struct{ gws.BuiltinEventHandler }

func clientOf(ws *gws.Conn) *Client {
	s, _ := ws.Session().(*session)
	return s.client
}

func (events) OnOpen(ws *gws.Conn) {}

func (events) OnPing(ws *gws.Conn, payload []byte) {
	clientOf(ws).sock.Alive()
	_ = ws.WritePong(payload)
}

func (events) OnPong(ws *gws.Conn, _ []byte) { clientOf(ws).sock.Alive() }

func (events) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	c := clientOf(ws)
	if c.refused != 0 {
		return
	}
	c.sock.Alive()
	if c.sock.Gone() {
		// The peer has left, so nobody would get the results of what it sent before.
		return
	}
	c.handle(m.Bytes())
}

// session stores a client in the place of the library's session map, so that no map is allocated for each
// connection. It stores nothing else.
type session struct{ client *Client }

func (*session) Len() int                           { return 0 }
func (*session) Load(string) (any, bool)            { return nil, false }
func (*session) Delete(string)                      {}
func (*session) Store(string, any)                  {}
func (*session) Range(func(key string, v any) bool) {}
