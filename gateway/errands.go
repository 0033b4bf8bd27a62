package gateway

import (
	"context"
	"net/http"
	"sync"
)

// errands counts the requests that are being answered. Endless answers of HTTP/2 (event streams) are counted
// separately: they are not waited for, but they keep the server from shutting down.
type errands struct {
	mu            sync.Mutex
	open, lasting int
	waiting       chan struct{}
}

// begin counts a request, and the returned function counts its end. lasts says that the answer is endless.
func (e *errands) begin(lasts bool) (end func()) {
	count := &e.open
	if lasts {
		count = &e.lasting
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	*count++
	e.tell() // An endless answer may begin while somebody waits.
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		*count--
		e.tell()
	}
}

// through returns a channel that is closed when only endless answers keep the server. It may be called once.
func (e *errands) through() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = make(chan struct{})
	through := e.waiting
	e.tell()
	return through
}

// tell closes the channel of through if its condition holds. The caller holds mu.
func (e *errands) tell() {
	if e.waiting != nil && e.open == 0 && e.lasting > 0 {
		close(e.waiting)
		e.waiting = nil
	}
}

// finishRequests lets the server finish its requests. It returns when that is done, or when only event
// streams of HTTP/2 remain, which the hub ends. shut is closed when the server has shut down.
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
