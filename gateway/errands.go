package gateway

import (
	"context"
	"net/http"
	"sync"
)

// errands are the requests that are being answered. Those of HTTP/2 whose answers last until
// somebody ends them are none, but they keep the server from shutting down as if they were.
type errands struct {
	mu            sync.Mutex
	open, lasting int
	waiting       chan struct{}
}

// begin notes a request; the function that it returns its end.
func (e *errands) begin(lasts bool) (end func()) {
	count := &e.open
	if lasts {
		count = &e.lasting
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	*count++
	e.tell() // one that lasts may come while somebody waits
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		*count--
		e.tell()
	}
}

// through is closed when nothing but answers that last keeps the server. It is called once.
func (e *errands) through() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = make(chan struct{})
	through := e.waiting
	e.tell()
	return through
}

// tell closes the channel of through when it is time. It holds the lock.
func (e *errands) tell() {
	if e.waiting != nil && e.open == 0 && e.lasting > 0 {
		close(e.waiting)
		e.waiting = nil
	}
}

// finishRequests lets the server end what it has begun, and returns when that is done, or when
// nothing keeps it but event streams of HTTP/2, which the hub ends. shut is closed when it is done.
func (n *Node) finishRequests(ctx context.Context, s *http.Server) (shut <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		shutdown(ctx, s)
	}()
	select {
	case <-done:
	case <-n.errands.through():
	}
	return done
}
