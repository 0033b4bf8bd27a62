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

// Client is one connection. What is not marked otherwise belongs to its reading
// goroutine.
type Client struct {
	hub *Hub
	// tenant is the app as it was when the connection came, see [Client.app].
	tenant *app.App
	shard  *fanout.Shard
	sock   *socket.Socket
	ws     *gws.Conn
	guard  *websocket.Guard
	id     string
	// address is that of the client, as far as the proxies in front are believed.
	address string
	dialect pusher.Dialect
	// silent: a V2 connection does not want client events of its own.
	silent bool
	// deflates: the peer takes compressed messages.
	deflates bool
	// refused connections are told why and closed; they take part in nothing.
	refused pusher.CloseCode
	// authorized is set once it has signed in or joined a channel that needs a signature, and while
	// it joins the first one; began is when it was accepted.
	authorized atomic.Bool
	began      time.Time

	delta deltaState
	// signed is who the connection has signed in as, nil before.
	signed *identity
	// events bounds client events; nil before the first one.
	events *rate.Limiter
	// mistakes bounds the answers to unknown events, likewise.
	mistakes *rate.Limiter
	pace     paces
	asks     turns.Asker
	queued   atomic.Bool // its request waits for its turn, and nothing is read of it
	// recovery is nil for a connection that gets nothing of what it missed.
	recovery *recovery
	// places is where the reader of an event stream is; nil for others.
	places *fanout.Places
	// pages counts the pages of history that are being read for it.
	pages atomic.Int32
	// filters are those of its subscriptions.
	filters filters.Own
	joined  []membership

	// pinged belongs to the sweep: when a silent peer was asked for a sign of
	// life, in Unix nanoseconds, 0 if it was not.
	pinged int64
	// again is when it ends, because its client does not ask again on it for what was refused for the moment.
	again turns.Anew
}

// app is the app of the connection as it is now, nil if there is none.
func (c *Client) app() *app.App { return c.tenant.Now() }

// membership is a subscription as the connection sees it.
type membership struct {
	channel *Channel
	filter  *pusher.Filter
	// began is the place from which on it was live first, attach the position at which it was last
	// granted, and told the serial that the client was told of that.
	began, told uint64
	attach      broker.Position
	// rare is nil for most subscriptions, of which there are many.
	rare     *rare
	delta    pusher.DeltaRequest
	welcomed bool
}

// rare is what few subscriptions have.
type rare struct {
	// member is the user that the connection is in a presence channel.
	member  string
	resyncs pace.Window
}

// member is the user that the connection is in a presence channel, empty in others.
func (m *membership) member() string {
	if m.rare == nil {
		return ""
	}
	return m.rare.member
}

// send queues a frame for this connection, if that still takes some.
func (c *Client) send(f *socket.Frame) { c.places.Send(c.sock, f) }

// control queues a protocol frame.
func (c *Client) control(f pusher.Control) { c.send(c.frameOf(f)) }

// frameOf is a protocol frame for connections of the dialect.
func (c *Client) frameOf(f pusher.Control) *socket.Frame {
	if c.dialect == pusher.V2 && f.Event != "ping" {
		f.MessageID = c.hub.messageID()
	}
	return fanout.ControlFrame(c.dialect, len(f.Text)+len(f.Object)+len(f.Channel)+128, &f)
}

// fail answers with an error event; the connection goes on.
func (c *Client) fail(code pusher.ErrorCode, format string, args ...any) {
	c.control(pusher.Control{Event: "error", Object: pusher.AppendErrorData(nil, code, fmt.Sprintf(format, args...))})
}

// end sends an error event and a close frame after everything that is queued,
// and closes.
func (c *Client) end(code pusher.CloseCode) { c.endSaying(code, code.Message()) }

func (c *Client) endSaying(code pusher.CloseCode, reason string) {
	c.places.End(c.sock, fanout.CloseFrames(c.dialect, code, reason))
}

// ended is deferred by the goroutine that reads the connection. A panic ends this
// connection only.
//
// That goroutine spends its life in a read, and each call on the way there costs: below
// about 1,200 bytes the runtime lets an idle stack shrink to 4 KiB, above it has 8.
func (c *Client) ended() {
	if cause := recover(); cause != nil {
		c.hub.opt.Metrics.panicked()
		c.hub.failures.Error(c.hub.opt.Logger, "panic", "connection ended by a panic while reading", "socket_id", c.id,
			"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
	defer c.hub.clients.Done()
	c.leave()
}

// leave undoes everything that the connection did, gives the peer a moment to
// read what was sent last, and closes.
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

// established is the first frame of an accepted connection.
func (c *Client) established() {
	data := `{"socket_id":"` + c.id + `","activity_timeout":` + strconv.Itoa(int(c.hub.opt.ActivityTimeout/time.Second)) + `}`
	c.control(pusher.Control{Event: "connection_established", Text: data})
}

// events connects the WebSocket library to the client that is stored as the
// session of each connection.
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
		// What the peer sent before it left would be done for nobody.
		return
	}
	c.handle(m.Bytes())
}

// session makes a client fit the library's session storage, so that no map is
// allocated for each connection. Nothing is ever stored in it.
type session struct{ client *Client }

func (*session) Len() int                           { return 0 }
func (*session) Load(string) (any, bool)            { return nil, false }
func (*session) Delete(string)                      {}
func (*session) Store(string, any)                  {}
func (*session) Range(func(key string, v any) bool) {}
