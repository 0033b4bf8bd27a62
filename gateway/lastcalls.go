package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// lastCalls is a listener that resets no client that had connected before it was closed. The kernel completes
// connections before they are accepted, and a load balancer sends its request at once; closing the listener
// would reset them. So after Close, Accept first returns these connections and then the error.
type lastCalls struct {
	net.Listener
	mu      sync.Mutex
	waiting []net.Conn
}

// Accept implements [net.Listener].
func (l *lastCalls) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if !errors.Is(err, net.ErrClosed) {
		return conn, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil, err
	}
	conn, l.waiting = l.waiting[0], l.waiting[1:]
	return conn, nil
}

// Close implements [net.Listener]. The caller of Accept must call it until it fails.
func (l *lastCalls) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A connection that arrives between these two calls is lost, so they follow each other at once.
	files := acceptQueued(l.Listener)
	err := l.Listener.Close()
	for _, fd := range files {
		f := os.NewFile(fd, "")
		if conn, wrong := net.FileConn(f); wrong == nil {
			l.waiting = append(l.waiting, conn)
		}
		_ = f.Close() // the connection has a copy
	}
	return err
}

// newcomers are the connections that have not sent a request yet. A server that shuts down closes them
// without an answer, even if their request is on its way.
type newcomers struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	// none is closed when open is empty; nil while nobody waits for that.
	none chan struct{}
}

// state is the ConnState hook of the HTTP server.
func (n *newcomers) state(c net.Conn, s http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s == http.StateNew {
		n.open[c] = struct{}{}
		return
	}
	delete(n.open, c)
	if n.none != nil && len(n.open) == 0 {
		close(n.none)
		n.none = nil
	}
}

// newcomersWait bounds how long a stop waits for connections that send nothing.
const newcomersWait = time.Second

// heard waits until each open connection has sent a request, or until most or newcomersWait has passed. It
// may be called once.
func (n *newcomers) heard(ctx context.Context, most time.Duration) {
	n.mu.Lock()
	if len(n.open) == 0 {
		n.mu.Unlock()
		return
	}
	none := make(chan struct{})
	n.none = none
	n.mu.Unlock()
	timer := time.NewTimer(min(most, newcomersWait))
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
}
