package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/quota"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/stream"
	"github.com/sluicehq/sluice/gateway/turns"
)

// ServeHTTP accepts a WebSocket at /app/KEY. It completes the upgrade even of a connection that it refuses,
// because a browser cannot tell a refused upgrade from a network failure, and clients would try again for
// ever.
//
// A request for /app/KEY/events that is not a WebSocket handshake is a request for an event stream.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if key, ok := stream.Path(r); ok {
		h.serveEvents(w, r, key)
		return
	}
	wrong := websocket.CheckHandshake(r)
	if (wrong == nil || wrong.Meant) && h.turnsBack() {
		wrong = &websocket.HandshakeError{Reason: "stopping", Status: http.StatusServiceUnavailable, Text: "this server is stopping", Meant: true}
	}
	if wrong != nil {
		h.noHandshake(w, r, wrong)
		return
	}
	a, dialect, no := h.admit(r)
	c := &Client{
		hub: h, tenant: a, dialect: dialect, refused: no.code, id: newSocketID(), address: r.RemoteAddr,
		shard: h.hall.Shards[h.nextShard.Add(1)%uint32(len(h.hall.Shards))], began: h.opt.Now(),
		recovery: recoveryOf(a, dialect),
	}
	conn, buffered, err := socket.TakeOver(w, h.opt.SendBuffer)
	if err != nil {
		h.opt.Metrics.noHandshake("takeover")
		h.opt.Logger.Warn("taking over a connection failed", "error", err)
		http.Error(w, "the connection cannot be upgraded", http.StatusInternalServerError)
		h.left(c)
		return
	}
	c.asks = turns.AskerAt(c.address, h.opt.Network)
	c.delta.quirk = pusher.QuirkOf(pusher.Parameter(r.URL.RawQuery, "client"))
	c.delta.usable = c.delta.quirk.Decodes
	if c.delta.quirk.AsksAgain {
		c.again.Never()
	}
	c.silent = pusher.Parameter(r.URL.RawQuery, "echo_messages") == "false"
	c.deflates = h.opt.Compression && no.code == 0 && websocket.AcceptsDeflate(r.Header)
	upgrader := h.upgraders[0]
	if c.deflates {
		upgrader = h.upgraders[1]
		// The library understands this fixed offer as intended, whatever the client has offered.
		r.Header.Set(websocket.Extensions, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	c.guard = websocket.NewGuard(conn, buffered, c, h.inbox, h.opt.MaxMessage, c.deflates)
	wire := websocket.NewWire(conn, c.guard)
	ws, err := upgrader.UpgradeFromConn(wire, c.guard.Buffered(), r)
	if err != nil {
		// The library has answered and closed the connection: the peer is gone.
		h.opt.Metrics.noHandshake("takeover")
		h.opt.Logger.Debug("a WebSocket handshake failed", "address", r.RemoteAddr, "error", err)
		h.left(c)
		return
	}
	c.ws = ws
	ws.Session().(*session).client = c
	if no.code != 0 {
		h.turnAway(c, r, a, no)
	}
	h.start(c, wire, no.text)
}

// admit decides about a connection before it is upgraded. A connection that it admits has been counted;
// [Hub.left] reverses that. The app is nil if there is none.
func (h *Hub) admit(r *http.Request) (a *app.App, dialect pusher.Dialect, no refusal) {
	query := r.URL.RawQuery
	dialect, code, ok := pusher.ParseDialect(pusher.Parameter(query, "protocol"))
	switch format := pusher.Parameter(query, "format"); {
	case !ok:
		no = refusal{code: code, reason: "protocol"}
	case dialect == pusher.V2 && format != "" && format != "json":
		no = refusal{pusher.CloseUnsupportedProtocol, "format", fmt.Sprintf(reasonFormat, format)}
	case h.holds(r):
		no = refusal{pusher.CloseOverCapacity, leavingReason, reasonRestarting}
	default:
		a, no = h.choose(r)
	}
	if no.text == "" {
		no.text = no.code.Message()
	}
	return a, dialect, no
}

// choose finds the app of a connection and counts the connection, or returns why the connection is refused.
func (h *Hub) choose(r *http.Request) (*app.App, refusal) {
	key, found := strings.CutPrefix(r.URL.Path, "/app/")
	if !found || key == "" || strings.Contains(key, "/") {
		return nil, refusal{code: pusher.ClosePathNotFound, reason: "path"}
	}
	a, no := h.appOf(r, key)
	if no.code == 0 {
		no = h.enter(r.Context(), a)
	}
	return a, no
}

// appOf returns the app with a key, or why the request may not use it.
func (h *Hub) appOf(r *http.Request, key string) (*app.App, refusal) {
	a := h.opt.Apps.ByKey(key, h.opt.Now())
	switch {
	case a == nil:
		return nil, refusal{code: pusher.CloseNoSuchApp, reason: "unknown_key"}
	case !a.Enabled:
		return a, refusal{code: pusher.CloseAppDisabled, reason: "app_disabled"}
	}
	if origin := r.Header.Get("Origin"); !a.AllowsOrigin(origin) {
		return a, refusal{pusher.CloseNotAuthorized, "origin", fmt.Sprintf(reasonOrigin, origin)}
	}
	if h.opt.Refuse != nil {
		if text := h.opt.Refuse(r, a); text != "" {
			return a, refusal{pusher.CloseNotAuthorized, "not_local", text}
		}
	}
	return a, refusal{}
}

// enter counts a connection of an app, or returns why the connection is refused.
func (h *Hub) enter(ctx context.Context, a *app.App) refusal {
	switch h.quota.Enter(ctx, a) {
	case quota.Full:
		return refusal{code: pusher.CloseOverQuota, reason: "quota"}
	case quota.Unsure:
		return refusal{pusher.CloseOverCapacity, "quota_unsure", reasonUnsure}
	}
	h.opt.Metrics.connected(a.ID)
	return refusal{}
}

func (h *Hub) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed || h.draining
}

// turnsBack reports whether WebSockets are refused before their upgrade. A gateway in [Hub.Stay] does not do
// that.
func (h *Hub) turnsBack() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return (h.closed || h.draining) && h.staying == nil
}

// start gives an upgraded connection its outbox and its reading goroutine, unless the hub was closed
// meanwhile. reason is the text for a connection that is refused.
func (h *Hub) start(c *Client, wire *websocket.Wire, reason string) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		tooLate(c, wire.Conn, nil, reason)
		h.left(c)
		return
	}
	h.clients.Add(1)
	c.sock = c.shard.Open(wire.Conn, h.kind(c.dialect, c.deflates))
	h.connections[c.shard.ID].add(c)
	h.mu.Unlock()
	wire.Upgraded(c.sock)
	switch {
	case c.refused != 0:
		c.endSaying(c.refused, reason)
	case !c.leaveIfGone(): // the app may have been removed while the connection was accepted
		c.established()
	}
	go func() {
		defer c.ended()
		c.ws.ReadLoop()
	}()
}

// tooLate ends a connection that arrived while the hub was being closed. It first writes head, the beginning
// of the HTTP answer. reason is the text for a connection that is refused.
func tooLate(c *Client, conn net.Conn, head []byte, reason string) {
	code := c.refused
	if code == 0 {
		code, reason = pusher.CloseReconnect, reasonStopping
	}
	// The send buffer of a new connection is empty, so this write does not wait.
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(slices.Concat(head, fanout.CloseFrames(c.dialect, code, reason).Bytes()))
	_ = conn.Close()
}
