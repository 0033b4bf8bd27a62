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

// Options configure a [Server]. All are required, but for those that say so.
type Options struct {
	Handler http.Handler
	// Takes tells which paths are served here. Others are left to the server of the library.
	Takes func(path string) bool
	// Admit waits until somebody else may be accepted; nil for at once.
	Admit func()
	// Queues tells which paths of requests of the server of the library must wait for their turn before it
	// gets them, with Queue; nil for none. Of these Queue returns the turn, nil if they need not wait, and has
	// call called when it has come, which waits for nobody. had is what [net.Conn]s that are handed over
	// say of themselves then (TakeTurn).
	Queues func(path string) bool
	Queue  func(c *net.TCPConn, call func()) (turn Turn, had bool)
	// HeaderTimeout bounds a header, and BodyTimeout a body unless the handler says otherwise.
	// IdleTimeout is how long a connection waits for its next request; an eighth of it may be
	// missing. AnswerTimeout is the usual time for a client to take an answer; half as much may
	// be added.
	HeaderTimeout, BodyTimeout, IdleTimeout, AnswerTimeout time.Duration
	// State is told of connections as [http.Server.ConnState] is: that they are new, and once
	// they have sent a request, or are closed before that.
	State func(net.Conn, http.ConnState)
	// Left is told how a connection begins whose first request is for the server of the library, and
	// must not keep the bytes; nil for nobody.
	Left func(peer net.Addr, begins []byte)
	// Panicked is told of a handler that panicked.
	Panicked func(reason any)
	// Failed is told of an error of the listener after which accepting goes on.
	Failed func(error)
}

// Server accepts connections. It is a listener for a server of the library, which gets those
// that it does not serve itself.
type Server struct {
	opt  Options
	from net.Listener
	// others are connections for the server of the library.
	others chan net.Conn
	// accepted is closed when nobody comes any more, with the reason in failed; over is closed
	// when nobody is handed over any more.
	// ended when all is done.
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

// Serve begins to accept from a listener. Shutdown must be called.
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
			// As when there are no descriptors left.
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

// take serves a connection. One that is not what the system accepted, because its bytes must be
// looked at by others first, goes to the server of the library at once.
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

// forget is for a connection that has ended or goes elsewhere.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// Accept implements [net.Listener] for the server of the library.
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
			accepted = nil // those who have come may still be handed over
		case <-s.over:
			return nil, net.ErrClosed
		}
	}
}

// Addr implements [net.Listener].
func (s *Server) Addr() net.Addr { return s.from.Addr() }

// Close implements [net.Listener]: nobody is accepted any more. Whoever has come is served.
func (s *Server) Close() error { return s.from.Close() }

// Accepted is closed when nobody comes any more.
func (s *Server) Accepted() <-chan struct{} { return s.accepted }

// Shutdown closes the connections that are waiting for a request, lets the others answer
// theirs until ctx is done, and hands nobody over any more. The listener must be closed.
func (s *Server) Shutdown(ctx context.Context) {
	s.closing.Store(true)
	s.each(func(c *conn) {
		if !c.busy.Load() {
			// It ends by reading. One that begins now sees that it must not.
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

// Wait returns when nothing goes on any more after a Shutdown: handlers end by themselves, also
// when their connections are closed.
func (s *Server) Wait() { <-s.ended }

func (s *Server) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	for c := range s.open {
		do(c)
	}
}
