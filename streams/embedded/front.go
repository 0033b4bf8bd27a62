package embedded

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// front is the port of the server for clients outside of this process. The server itself
// listens nowhere: a message that it does not survive must not reach it (see [screen]).
type front struct {
	listener net.Listener
	// inside connects to the server that runs at this moment.
	inside     func() (net.Conn, error)
	max        int
	maxPayload int64
	reserved   []string
	log        *slog.Logger
	running    sync.WaitGroup
	quit       chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// pauseOfAccept lies between two attempts to accept after one that failed, as for want of
// a descriptor.
const pauseOfAccept = 100 * time.Millisecond

// refusalTimeout bounds telling a client why it is sent away.
const refusalTimeout = time.Second

func (f *front) serve() {
	f.quit, f.conns = make(chan struct{}), map[net.Conn]struct{}{}
	f.running.Go(func() {
		for {
			c, err := f.listener.Accept()
			if err == nil {
				f.running.Go(func() { f.handle(c) })
				continue
			}
			select {
			case <-f.quit:
				return
			case <-time.After(pauseOfAccept):
			}
		}
	})
}

// handle joins a client with the server until one of them hangs up.
func (f *front) handle(client net.Conn) {
	defer func() { _ = client.Close() }()
	if why := f.enter(client); why != "" {
		refuse(client, why)
		return
	}
	defer f.leave(client)
	server, err := f.inside()
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		// What the server says ends when it hangs up, and with it what it is told.
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	s := newScreen(client, server, f.maxPayload, f.reserved)
	if err := s.run(); err != nil {
		f.log.Debug("a NATS client was sent away", "address", client.RemoteAddr().String(), "error", err)
		refuse(client, err.Error())
	}
	_ = server.Close()
	back.Wait()
}

// enter counts a client, or says why it cannot come in.
func (f *front) enter(c net.Conn) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.quit:
		return "the server is stopping"
	default:
	}
	if len(f.conns) >= f.max {
		return "maximum connections exceeded"
	}
	f.conns[c] = struct{}{}
	return ""
}

func (f *front) leave(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// refuse tells a client in the form of the protocol why it is sent away.
func refuse(c net.Conn, why string) {
	_ = c.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_, _ = fmt.Fprintf(c, "-ERR '%s'\r\n", why)
}

// close ends all connections and waits for them.
func (f *front) close() {
	f.mu.Lock()
	close(f.quit)
	_ = f.listener.Close()
	for c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
}
