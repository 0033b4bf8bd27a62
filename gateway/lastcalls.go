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

// lastCalls is a listener that turns away nobody who had connected before it was closed.
// The kernel connects whoever comes before anybody accepts it, and a balancer sends its
// request at once; closing would reset that. So Accept returns these, and then the end.
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

// Close implements [net.Listener]. Whoever calls Accept must do so until it fails.
func (l *lastCalls) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// What connects between these two is lost, so nothing stands between them.
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

// newcomers are the connections that have sent no request yet. A server that shuts down
// closes them without an answer, whatever is on its way to it.
type newcomers struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	// none is closed when there are none; nil while nobody waits for that.
	none chan struct{}
}

// state follows a connection as the HTTP server sees it.
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

// newcomersWait bounds the time for those who connect and say nothing.
const newcomersWait = time.Second

// heard waits until each has sent a request, for a while. It is called once.
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
