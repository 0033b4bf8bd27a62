package hub

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// readBuffer is the size of a connection's read buffer. Client messages are
// small and larger ones are read past it; 512 bytes instead of the usual 4 KiB
// saves a third of the memory of an idle connection.
const readBuffer = 512

// ServeHTTP accepts a WebSocket at /app/KEY. The upgrade is completed even when
// the connection will be refused, because a refused upgrade looks like a network
// failure to a browser and makes clients try again for ever.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wrong := checkHandshake(r)
	if (wrong == nil || wrong.meant) && h.isClosed() {
		wrong = &handshakeError{"stopping", http.StatusServiceUnavailable, "this server is stopping", true}
	}
	if wrong != nil {
		h.noHandshake(w, r, wrong)
		return
	}
	a, dialect, code, reason := h.admit(r)
	conn, buffered, err := hijack(w)
	if err != nil {
		h.opt.Metrics.noHandshake("takeover")
		h.opt.Logger.Warn("taking over a connection failed", "error", err)
		http.Error(w, "the connection cannot be upgraded", http.StatusInternalServerError)
		return
	}
	if tcp, ok := conn.(interface{ SetWriteBuffer(int) error }); ok && h.opt.SendBuffer > 0 {
		_ = tcp.SetWriteBuffer(h.opt.SendBuffer)
	}
	c := &Client{
		hub: h, app: a, conn: conn, dialect: dialect, refused: code, id: newSocketID(),
		shard: h.shards[int(h.nextShard.Add(1))%len(h.shards)], began: h.opt.Now(),
	}
	c.delta.quirk = quirkOf(r.URL.Query().Get("client"))
	c.delta.usable = c.delta.quirk.decodes
	wrapped := &wire{Conn: conn, client: c}
	c.deflates = h.opt.Compression && code == 0 && acceptsDeflate(r.Header)
	upgrader := h.upgraders[0]
	if c.deflates {
		upgrader = h.upgraders[1]
		// What the library is shown is an offer that it reads as it is meant.
		r.Header.Set(extensions, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	c.guard = &guard{from: conn, client: c, max: uint64(h.opt.MaxMessage)}
	ws, err := upgrader.UpgradeFromConn(wrapped, primed(c.guard, buffered), r)
	if err != nil {
		// The library has answered and closed the connection: the peer is gone.
		h.opt.Metrics.noHandshake("takeover")
		h.opt.Logger.Debug("a WebSocket handshake failed", "address", r.RemoteAddr, "error", err)
		h.left(c)
		return
	}
	c.ws = ws
	ws.Session().(*session).client = c
	h.start(c, wrapped, reason)
}

// admit decides about a connection before it is upgraded. An app without a code
// has been counted; [Hub.left] takes it back. The reason is that of the code, unless
// there is a better one.
func (h *Hub) admit(r *http.Request) (a *app.App, dialect pusher.Dialect, code pusher.CloseCode, reason string) {
	query := r.URL.Query()
	dialect, code, ok := pusher.ParseDialect(query.Get("protocol"))
	switch format := query.Get("format"); {
	case !ok:
	case dialect == pusher.V2 && format != "" && format != "json":
		code, reason = pusher.CloseUnsupportedProtocol, fmt.Sprintf(reasonFormat, format)
	default:
		a, code, reason = h.choose(r)
	}
	if reason == "" {
		reason = code.Message()
	}
	return a, dialect, code, reason
}

// choose finds the app of a connection and counts the connection, or says why not.
func (h *Hub) choose(r *http.Request) (a *app.App, code pusher.CloseCode, reason string) {
	key, found := strings.CutPrefix(r.URL.Path, "/app/")
	if !found || key == "" || strings.Contains(key, "/") {
		return nil, pusher.ClosePathNotFound, ""
	}
	a = h.opt.Apps.ByKey(key)
	switch {
	case a == nil:
		return nil, pusher.CloseNoSuchApp, ""
	case !a.Enabled:
		return nil, pusher.CloseAppDisabled, ""
	}
	if origin := r.Header.Get("Origin"); !a.AllowsOrigin(origin) {
		return nil, pusher.CloseNotAuthorized, fmt.Sprintf(reasonOrigin, origin)
	}
	if h.opt.Refuse != nil {
		if reason = h.opt.Refuse(r, a); reason != "" {
			return nil, pusher.CloseNotAuthorized, reason
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Limits.MaxConnections > 0 && h.perApp[a]+h.elsewhere(a) >= a.Limits.MaxConnections {
		return nil, pusher.CloseOverQuota, ""
	}
	h.perApp[a]++
	h.countConnections(a)
	h.opt.Metrics.connected(a.ID)
	return a, 0, ""
}

func (h *Hub) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed || h.draining
}

// start gives an upgraded connection its outbox and its reading goroutine, unless
// the hub was closed meanwhile. reason is said to one that is refused.
func (h *Hub) start(c *Client, wrapped *wire, reason string) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		_ = c.conn.Close()
		h.left(c)
		return
	}
	h.clients.Add(1)
	c.shard.join(c)
	h.mu.Unlock()
	wrapped.upgraded.Store(true)
	if c.refused != 0 {
		h.opt.Metrics.refused(int(c.refused))
		c.endSaying(c.refused, reason)
	} else {
		c.established()
	}
	go c.run()
}

func hijack(w http.ResponseWriter) (net.Conn, []byte, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	// What the client sent right behind its handshake is in the server's
	// buffer already and must not be lost.
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(rw.Reader, early); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	return conn, early, nil
}

// primed reads what came early, and then the connection.
func primed(g *guard, early []byte) *bufio.Reader {
	if len(early) > 0 {
		g.from = io.MultiReader(bytes.NewReader(early), g.from)
	}
	return bufio.NewReaderSize(g, readBuffer)
}
