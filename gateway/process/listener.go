package process

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxAnswering bounds the refused connections that wait for the client to read the answer. Further ones are
	// closed at once.
	maxAnswering = 8
	// answerTime is how long such a client has.
	answerTime = time.Second
)

// Refusal is the answer to any HTTP request. It is short enough for any socket's buffer.
const Refusal = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 32\r\n\r\nthis server is full; retry soon\n"

// listener refuses connections while there is no room for them.
type listener struct {
	net.Listener
	class Class
	d     *Descriptors
	// shut reports whether connections are refused for another reason; nil for never.
	shut func() bool
	// answer is sent to refused connections.
	answer string

	mu        sync.Mutex
	closed    bool
	answering map[net.Conn]struct{}
	ended     sync.WaitGroup
}

// Listener wraps a listener. It answers and closes connections that would not leave the reserve of their class
// free, and all while shut reports true; shut may be nil. answer is [Refusal] for HTTP. As without it, an error
// of the system is returned by Accept. Close waits for the refused connections.
func (d *Descriptors) Listener(l net.Listener, class Class, answer string, shut func() bool) net.Listener {
	return &listener{Listener: l, class: class, answer: answer, d: d, shut: shut, answering: map[net.Conn]struct{}{}}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if isExhausted(err) {
				l.d.exhausted.Add(1)
				l.d.full.Store(true)
			}
			return nil, err
		}
		fits := l.d.fits(conn, l.class)
		if l.class == Public {
			l.d.full.Store(!fits)
		}
		if !fits {
			l.d.refused.Add(1)
		}
		if fits && (l.shut == nil || !l.shut()) {
			return conn, nil
		}
		l.refuse(conn)
	}
}

// refuse answers and closes. Closing with unread bytes of the peer resets the connection, and the answer is
// lost, so some clients are given time to read it.
func (l *listener) refuse(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	_, _ = io.WriteString(conn, l.answer)
	l.mu.Lock()
	room := !l.closed && len(l.answering) < maxAnswering
	if room {
		l.answering[conn] = struct{}{}
	}
	l.mu.Unlock()
	if !room {
		_ = conn.Close()
		return
	}
	l.ended.Go(func() {
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.CopyN(io.Discard, conn, 64<<10)
		l.mu.Lock()
		delete(l.answering, conn)
		l.mu.Unlock()
		_ = conn.Close()
	})
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	for conn := range l.answering {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.ended.Wait()
	return err
}
