package stream

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sluicehq/sluice/gateway/socket"
)

// Lasts reports whether the answer to a request lasts as long as its reader stays, as with HTTP/2: there, a
// stream has no connection that could be taken from the server.
func Lasts(r *http.Request) bool {
	_, ok := Path(r)
	return ok && r.ProtoMajor >= 2
}

// Take takes over what a stream is sent on: the connection of an HTTP/1.1 request, or the answer to an HTTP/2
// request. begin must be sent first. The handler calls stay last, which returns when the answer may end. The
// caller must close conn.
func Take(w http.ResponseWriter, r *http.Request, sendBuffer int) (conn net.Conn, begin []byte, stay func(), err error) {
	if r.ProtoMajor < 2 {
		conn, _, err = socket.TakeOver(w, sendBuffer)
		return conn, append(head(w.Header()), opening...), func() {}, err
	}
	describe(w.Header())
	l := &lasting{
		w: w, control: http.NewResponseController(w), gone: r.Context(),
		ended: make(chan struct{}), aborted: make(chan struct{}),
	}
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		l.local = at
	}
	// The server's timeouts are for answers that end.
	_ = l.control.SetWriteDeadline(time.Time{})
	_ = l.control.SetReadDeadline(time.Time{})
	// Flush sends the header. If the answer cannot be sent in pieces, it fails, and nothing was sent yet.
	if err := l.control.Flush(); err != nil {
		w.Header().Del("X-Accel-Buffering")
		return nil, nil, nil, err
	}
	return l, opening, l.stay, nil
}

// HeadOnly answers a HEAD request, without attaching a channel, and reports whether the request was one.
func HeadOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodHead {
		return false
	}
	describe(w.Header())
	w.WriteHeader(http.StatusOK)
	return true
}

func describe(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
}

// lasting is an answer of HTTP/2 in the form of a connection that is only written to. A read deadline ends
// it, because the reader sends nothing.
type lasting struct {
	w       http.ResponseWriter
	control *http.ResponseController
	local   net.Addr
	// gone is done when the client has left.
	gone context.Context

	// writing is held by a write, and by the handler when it returns: the answer must not be used after that.
	writing sync.Mutex

	mu       sync.Mutex
	over     bool // the handler has returned
	busy     bool // a write is in progress
	deadline time.Time
	abort    *time.Timer

	end     sync.Once
	ended   chan struct{}
	stop    sync.Once
	aborted chan struct{}
}

var (
	_ net.Conn       = (*lasting)(nil)
	_ socket.Patient = (*lasting)(nil)
)

// WriteWaits implements [socket.Patient].
func (l *lasting) WriteWaits() {}

// stay waits for the end, and then stops the use of the answer.
func (l *lasting) stay() {
	<-l.ended
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.abort != nil {
		l.abort.Stop()
	}
}

// Write implements [net.Conn].
func (l *lasting) Write(p []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	select {
	case <-l.ended:
		l.mu.Unlock()
		return 0, net.ErrClosed
	default:
	}
	l.busy = true
	l.limit(l.deadline)
	l.mu.Unlock()
	n, err := l.w.Write(p)
	if err == nil {
		err = l.control.Flush()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	late := !l.deadline.IsZero() && !time.Now().Before(l.deadline)
	if err == nil {
		// A write deadline that passes would end the answer even while nothing is written.
		l.limit(time.Time{})
	} else if late {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// limit sets the server's deadline for a write. The caller holds mu.
func (l *lasting) limit(t time.Time) {
	if !l.over {
		_ = l.control.SetWriteDeadline(t)
	}
}

// Read implements [net.Conn]: it waits for the end.
func (l *lasting) Read([]byte) (int, error) {
	select {
	case <-l.gone.Done():
		return 0, io.EOF
	case <-l.ended:
		return 0, io.EOF
	case <-l.aborted:
		return 0, os.ErrDeadlineExceeded
	}
}

// CloseWrite ends the answer.
func (l *lasting) CloseWrite() error {
	l.end.Do(func() { close(l.ended) })
	return nil
}

// Close implements [net.Conn]. A write in progress fails.
func (l *lasting) Close() error {
	l.mu.Lock()
	if l.busy {
		l.limit(time.Unix(1, 0))
	}
	l.mu.Unlock()
	return l.CloseWrite()
}

// SetWriteDeadline implements [net.Conn].
func (l *lasting) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	if l.busy {
		l.limit(t)
	}
	return nil
}

// SetReadDeadline implements [net.Conn].
func (l *lasting) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.abort != nil {
		l.abort.Stop()
		l.abort = nil
	}
	if t.IsZero() || l.over {
		return nil
	}
	l.abort = time.AfterFunc(time.Until(t), func() { l.stop.Do(func() { close(l.aborted) }) })
	return nil
}

// SetDeadline implements [net.Conn].
func (l *lasting) SetDeadline(t time.Time) error {
	_ = l.SetReadDeadline(t)
	return l.SetWriteDeadline(t)
}

// LocalAddr implements [net.Conn].
func (l *lasting) LocalAddr() net.Addr { return l.local }

// RemoteAddr implements [net.Conn]. It is nil, because callers have the address of the request.
func (l *lasting) RemoteAddr() net.Addr { return nil }
