package post

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rawio"
)

// Options configure a [Server]. All are required unless stated otherwise.
type Options struct {
	Handler http.Handler
	// Takes reports whether requests for a path are served here. net/http serves the others.
	Takes func(path string) bool
	// Admit waits until another connection may be accepted; nil for no limit.
	Admit func()
	// Queues reports whether requests for a path must wait for their turn before net/http gets them; nil if none
	// must. Queue then enqueues the connection and returns its place, nil if it need not wait. It calls call
	// when the turn has come; call does not block. had is the result of TakeTurn of the handed-over [net.Conn].
	Queues func(path string) bool
	Queue  func(c *net.TCPConn, call func()) (turn Turn, had bool)
	// HeaderTimeout bounds a header, and BodyTimeout a body unless the handler sets a deadline. IdleTimeout is
	// how long a connection waits for its next request; it may be up to an eighth shorter. AnswerTimeout is the
	// usual time for a client to read an answer; it may be up to half longer.
	HeaderTimeout, BodyTimeout, IdleTimeout, AnswerTimeout time.Duration
	// State is called like [http.Server.ConnState]: for new connections, and when they have sent a request or
	// are closed before that.
	State func(net.Conn, http.ConnState)
	// Left is called with the first bytes of a connection whose first request is for net/http, and must not keep
	// them; may be nil.
	Left func(peer net.Addr, begins []byte)
	// Panicked is called after a handler has panicked.
	Panicked func(reason any)
	// Failed is called with a temporary error of the listener.
	Failed func(error)
}

// Server accepts connections. It is a listener for a net/http server, which gets the connections that it does
// not serve itself.
type Server struct {
	opt  Options
	from net.Listener
	// others are connections for net/http.
	others chan net.Conn
	// accepted is closed when no more connections are accepted, with the reason in failed. over is closed when
	// no more are handed over. ended is closed when all goroutines have ended.
	accepted, over, ended chan struct{}
	failed                error
	closing               atomic.Bool
	running               sync.WaitGroup
	once                  sync.Once

	mu   sync.Mutex
	open map[*conn]struct{}
	shut bool
}

var _ net.Listener = (*Server)(nil)

// Serve starts to accept from a listener. The caller must call Shutdown.
func Serve(from net.Listener, opt Options) *Server {
	s := &Server{
		opt: opt, from: from, others: make(chan net.Conn), accepted: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{}), open: map[*conn]struct{}{},
	}
	s.running.Go(s.run)
	return s
}

// run accepts until the listener fails.
func (s *Server) run() {
	defer close(s.accepted)
	for pause := time.Duration(0); ; {
		c, err := s.from.Accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil:
			pause = 0
			s.take(c)
			if s.opt.Admit != nil {
				s.opt.Admit()
			}
		case errors.As(err, &passing) && passing.Temporary():
			// For instance, no descriptors are left.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.opt.Failed(err)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-s.over:
				timer.Stop()
			}
		default:
			s.failed = err
			return
		}
	}
}

// take serves a connection. A connection that is not a *net.TCPConn, because another layer must process its
// bytes first, goes to net/http at once.
func (s *Server) take(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		select {
		case s.others <- c:
		case <-s.over:
			_ = c.Close()
		}
		return
	}
	s.opt.State(tcp, http.StateNew)
	mine := &conn{server: s, tcp: tcp, wire: rawio.New(tcp), remote: tcp.RemoteAddr().String()}
	s.mu.Lock()
	shut := s.shut
	if !shut {
		s.open[mine] = struct{}{}
	}
	s.mu.Unlock()
	if shut {
		_ = tcp.Close()
		s.opt.State(tcp, http.StateClosed)
		return
	}
	s.running.Go(mine.serve)
}

// forget removes a connection that has ended or is handed over.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// Accept implements [net.Listener] for the net/http server.
func (s *Server) Accept() (net.Conn, error) {
	accepted := s.accepted
	for {
		select {
		case c := <-s.others:
			return c, nil
		case <-accepted:
			if !errors.Is(s.failed, net.ErrClosed) {
				return nil, s.failed
			}
			accepted = nil // accepted connections may still be handed over
		case <-s.over:
			return nil, net.ErrClosed
		}
	}
}

// Addr implements [net.Listener].
func (s *Server) Addr() net.Addr { return s.from.Addr() }

// Close implements [net.Listener]: it ends accepting. Accepted connections are still served.
func (s *Server) Close() error { return s.from.Close() }

// Accepted returns a channel that is closed when no more connections are accepted.
func (s *Server) Accepted() <-chan struct{} { return s.accepted }

// Shutdown closes the connections that wait for a request, lets the others answer theirs until ctx is done, and
// hands no more over. The listener must be closed.
func (s *Server) Shutdown(ctx context.Context) {
	s.closing.Store(true)
	s.each(func(c *conn) {
		if !c.busy.Load() {
			// Its read fails. A request that begins now is refused by begin.
			_ = c.tcp.SetReadDeadline(time.Unix(1, 0))
		}
	})
	s.once.Do(func() {
		close(s.over)
		go func() {
			s.running.Wait()
			close(s.ended)
		}()
	})
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.each(func(c *conn) { _ = c.tcp.Close() })
	}
}

// Wait waits until all goroutines have ended after a Shutdown. Handlers may continue after their connections
// were closed.
func (s *Server) Wait() { <-s.ended }

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	for c := range s.open {
		do(c)
	}
}
