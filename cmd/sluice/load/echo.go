package load

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/tidwall/gjson"
)

// echo is a trivial server of the protocol, against which the generator is measured: it accepts every client,
// stores nothing, and sends publishes to the subscribers. startEcho creates it, and close ends it.
type echo struct {
	http     *http.Server
	address  string
	upgrader *gws.Upgrader
	work     sync.WaitGroup

	mu    sync.Mutex
	conns map[*gws.Conn]bool
	rooms map[string]map[*gws.Conn]bool
}

func startEcho() (*echo, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &echo{address: l.Addr().String(), conns: map[*gws.Conn]bool{}, rooms: map[string]map[*gws.Conn]bool{}}
	e.upgrader = gws.NewUpgrader(&echoHandler{echo: e}, &gws.ServerOption{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app/{key}", e.connect)
	mux.HandleFunc("POST /apps/{id}/events", e.publish)
	e.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	e.work.Go(func() { _ = e.http.Serve(l) })
	return e, nil
}

func (e *echo) close() {
	_ = e.http.Close()
	e.mu.Lock()
	for c := range e.conns {
		_ = c.NetConn().Close()
	}
	e.mu.Unlock()
	e.work.Wait()
}

func (e *echo) connect(w http.ResponseWriter, r *http.Request) {
	c, err := e.upgrader.Upgrade(w, r)
	if err != nil {
		return
	}
	e.mu.Lock()
	e.conns[c] = true
	e.mu.Unlock()
	e.work.Go(c.ReadLoop)
}

func (e *echo) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFrame))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := gjson.ParseBytes(body)
	for _, channel := range v.Get("channels").Array() {
		frame, err := json.Marshal(map[string]string{"event": v.Get("name").Str, "channel": channel.Str, "data": v.Get("data").Str})
		if err != nil {
			continue
		}
		e.mu.Lock()
		to := make([]*gws.Conn, 0, len(e.rooms[channel.Str]))
		for c := range e.rooms[channel.Str] {
			to = append(to, c)
		}
		e.mu.Unlock()
		for _, c := range to {
			_ = c.WriteMessage(gws.OpcodeText, frame)
		}
	}
	_, _ = io.WriteString(w, "{}")
}

// echoHandler has the callbacks of gws, which are called by the goroutine of each connection.
type echoHandler struct {
	gws.BuiltinEventHandler
	echo *echo
}

func (h *echoHandler) OnOpen(c *gws.Conn) {
	_ = c.WriteString(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\",\"activity_timeout\":120}"}`)
}

func (h *echoHandler) OnClose(c *gws.Conn, _ error) {
	h.echo.mu.Lock()
	defer h.echo.mu.Unlock()
	delete(h.echo.conns, c)
	for name, room := range h.echo.rooms {
		if delete(room, c); len(room) == 0 {
			delete(h.echo.rooms, name)
		}
	}
}

func (h *echoHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	v := gjson.ParseBytes(m.Bytes())
	channel := strings.Clone(v.Get("data.channel").String())
	switch v.Get("event").String() {
	case "pusher:subscribe":
		h.echo.mu.Lock()
		if h.echo.rooms[channel] == nil {
			h.echo.rooms[channel] = map[*gws.Conn]bool{}
		}
		h.echo.rooms[channel][c] = true
		h.echo.mu.Unlock()
		text, err := json.Marshal(map[string]string{"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"})
		if err == nil {
			_ = c.WriteMessage(gws.OpcodeText, text)
		}
	case "pusher:unsubscribe":
		h.echo.mu.Lock()
		delete(h.echo.rooms[channel], c)
		h.echo.mu.Unlock()
	case "pusher:ping":
		_ = c.WriteString(`{"event":"pusher:pong","data":"{}"}`)
	}
}
