package post

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// room is the size of a connection's buffer in bytes. Most requests fit with their bodies.
const room = 4 << 10

var buffers = sync.Pool{New: func() any { return new([room]byte) }}

// conn is a connection while its requests are served here. Only its own goroutine uses it, except for busy and
// deadlines at a shutdown.
type conn struct {
	server *Server
	tcp    *net.TCPConn
	// wire is the same connection, for reading, writing and write deadlines.
	wire   net.Conn
	remote string
	// buffer has unused bytes from start to end. The connection owns it until it ends or is handed over.
	buffer     *[room]byte
	start, end int
	// reads and writes are the deadlines that are set.
	reads, writes time.Time
	// broken is set if the body of a request did not arrive.
	broken bool
	// busy is set while a request is served. A shutdown interrupts connections that are not busy.
	busy atomic.Bool
}

// serve serves requests until the connection ends or must be handed over.
func (c *conn) serve() {
	c.buffer = buffers.Get().(*[room]byte)
	for first := true; ; first = false {
		h, what := c.next(first)
		switch {
		case what == foreign:
			c.pass(c.leave(first))
			return
		case what == waiting:
			c.wait(first)
			return
		case what == unfinished, !c.begin():
			c.quit(first)
			return
		}
		if first {
			c.server.opt.State(c.tcp, http.StateActive)
		}
		if !c.exchange(&h) {
			c.quit(false)
			return
		}
		c.busy.Store(false)
	}
}

// begin reports whether another request may be served, and sets busy.
func (c *conn) begin() bool {
	c.busy.Store(true)
	return !c.server.closing.Load()
}

// next reads the header of a request. If the connection ends before, the verdict is unfinished.
func (c *conn) next(first bool) (head, verdict) {
	opt := &c.server.opt
	var by time.Time // deadline of the whole header, once it has begun
	blank := 0
	for begun := first; ; {
		for !first && blank < maxBlank && c.end > c.start && (c.buffer[c.start] == '\r' || c.buffer[c.start] == '\n') {
			c.start++
			blank++
		}
		if c.end > c.start {
			h, what := read(c.buffer[c.start:c.end], opt.Takes)
			if what == foreign && opt.Queues != nil {
				what = waits(c.buffer[c.start:c.end], opt.Queues)
			}
			if what == unfinished && c.end-c.start == room {
				what = foreign
			}
			if what != unfinished {
				c.start += h.size
				return h, what
			}
			begun = true
		}
		c.end = copy(c.buffer[:], c.buffer[c.start:c.end])
		c.start = 0
		switch {
		case !begun:
			c.readWithin(opt.IdleTimeout)
		case by.IsZero():
			by = time.Now().Add(opt.HeaderTimeout)
			c.readBy(by)
		}
		if c.server.closing.Load() {
			return head{}, unfinished // this may have overwritten the deadline of the shutdown
		}
		n, err := c.wire.Read(c.buffer[c.end:])
		if c.end += n; err != nil {
			return head{}, unfinished
		}
	}
}

// readWithin bounds the next read to about d. It sets the deadline again only if less than seven eighths are
// left.
func (c *conn) readWithin(d time.Duration) {
	if now := time.Now(); c.reads.Sub(now) < d-d/8 || c.reads.Sub(now) > d {
		c.readBy(now.Add(d))
	}
}

func (c *conn) readBy(t time.Time) {
	if !t.Equal(c.reads) {
		c.reads = t
		_ = c.tcp.SetReadDeadline(t) // reading a closed connection reports the error
	}
}

// exchange serves one request, and reports whether another may follow.
func (c *conn) exchange(h *head) (more bool) {
	opt := &c.server.opt
	now := time.Now()
	x := &exchange{conn: c, left: h.length, header: make(http.Header, 4), limit: now.Add(opt.BodyTimeout)}
	if !h.address(&x.url) {
		// This is the answer of net/http.
		x.header.Set("Content-Type", "text/plain; charset=utf-8")
		x.WriteHeader(http.StatusBadRequest)
		x.body = append(x.body, "400 Bad Request"...)
		h.last = true
	} else {
		x.request = http.Request{
			Method: http.MethodPost, URL: &x.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h.fields, Body: x,
			ContentLength: h.length, Close: h.last, Host: h.host, RemoteAddr: c.remote, RequestURI: h.target,
		}
		if h.length == 0 {
			x.request.Body = http.NoBody
		}
		if !c.handle(x) {
			return false
		}
	}
	// The unread rest of a body is discarded if it has already arrived.
	rest := min(x.left, int64(c.end-c.start))
	c.start += int(rest)
	x.left -= rest
	last := h.last || c.broken || x.left > 0 || c.server.closing.Load() || strings.EqualFold(x.header.Get("Connection"), "close")
	if x.pushed.IsZero() {
		x.pushed = now.Add(opt.AnswerTimeout)
	}
	c.writeBy(x.pushed, opt.AnswerTimeout)
	// The answer is written into the used part of the buffer if it fits there.
	text := x.answer(c.buffer[:0:c.start], now, last)
	if _, err := c.wire.Write(text); err != nil {
		return false
	}
	if last && (x.left > 0 || c.end > c.start) {
		c.linger()
	}
	return !last
}

// writeBy sets the write deadline. Setting it for each write would cost more than most writes, so the deadline
// may be up to half of the usual time later.
func (c *conn) writeBy(t time.Time, usual time.Duration) {
	if c.writes.Before(t) || c.writes.Sub(t) > usual/2 {
		c.writes = t.Add(usual / 2)
		_ = c.wire.SetWriteDeadline(c.writes)
	}
}

// handle calls the handler. It reports false if the handler has panicked, which ends only this connection.
func (c *conn) handle(x *exchange) (ok bool) {
	defer func() {
		if ok {
			return
		}
		if reason := recover(); reason != http.ErrAbortHandler {
			c.server.opt.Panicked(reason)
		}
	}()
	c.server.opt.Handler.ServeHTTP(x, &x.request)
	return true
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger gives the client time to read the answer while it is still sending. Closing at once would reset the
// connection first. Reading without a bound would cost what the early answer was to save, so after lingerBytes
// the client waits.
func (c *conn) linger() {
	_ = c.tcp.CloseWrite()
	until := time.Now().Add(lingerTime)
	c.readBy(until)
	if n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.LimitReader(c.tcp, lingerBytes)}, c.buffer[:]); n < lingerBytes {
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.server.over:
	}
}

// quit closes the connection.
func (c *conn) quit(first bool) {
	c.server.forget(c)
	_ = c.tcp.Close()
	if first {
		c.server.opt.State(c.tcp, http.StateClosed)
	}
	buffers.Put(c.buffer)
	c.buffer = nil
}

// leave releases the buffer of a connection that is to be handed to net/http, and returns that connection with
// the bytes that were read.
func (c *conn) leave(first bool) *handed {
	if told := c.server.opt.Left; first && told != nil {
		told(c.tcp.RemoteAddr(), c.buffer[c.start:c.end])
	}
	h := &handed{TCPConn: c.tcp, counted: first}
	h.early = append(make([]byte, 0, c.end-c.start+early), c.buffer[c.start:c.end]...)
	buffers.Put(c.buffer)
	c.buffer = nil
	return h
}

// pass hands the connection to net/http.
func (c *conn) pass(h *handed) {
	// The deadlines set here no longer apply.
	_ = c.wire.SetDeadline(time.Time{})
	c.server.forget(c)
	select {
	case c.server.others <- h:
	case <-c.server.over:
		_ = c.tcp.Close()
		if h.counted {
			c.server.opt.State(c.tcp, http.StateClosed)
		}
	}
}
