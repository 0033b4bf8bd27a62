package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
)

const benchChannel = "bench"

// server is a hub whose feed is the benchmark itself, so that only the path from a stored publication to the
// sockets is measured.
type server struct {
	hub      *hub.Hub
	http     *http.Server
	listener *keeper
	offset   uint64

	mu    sync.Mutex
	sink  broker.Sink
	sinks map[string]broker.Sink
}

// keeper remembers the accepted connections, so that the baseline can write to the same sockets.
type keeper struct {
	net.Listener
	mu    sync.Mutex
	conns []*net.TCPConn
}

func (k *keeper) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err == nil {
		k.mu.Lock()
		k.conns = append(k.conns, c.(*net.TCPConn))
		k.mu.Unlock()
	}
	return c, err
}

func startServer(deltas app.Delta) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: &keeper{Listener: l}, sinks: map[string]broker.Sink{}}
	s.hub, err = hub.New(hub.Options{
		Apps: app.NewRegistry(&app.App{
			ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits, Delta: deltas,
		}),
		Feed: s, Metrics: hub.NewMetrics(prometheus.NewRegistry(), "bench_", "0", 10),
		DeltaEnabled: deltas.Enabled, SweepInterval: time.Hour, Linger: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{Handler: s.hub, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(s.listener) }()
	return s, nil
}

// Attach implements [broker.Feed].
func (s *server) Attach(_ context.Context, _, channel string, sink broker.Sink) (broker.Attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if channel == benchChannel {
		s.sink = sink
	}
	s.sinks[channel] = sink
	return s, nil
}

func (s *server) sinkOf(channel string) broker.Sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sinks[channel]
}

// publication returns the next publication of the log.
func (s *server) publication(event string, data []byte) *broker.Publication {
	prev := s.offset
	s.offset++
	return &broker.Publication{
		Event:    broker.Event{Name: event, Data: data},
		Position: broker.Position{Epoch: "bench", Offset: s.offset}, Prev: prev, Time: time.Now(),
	}
}

// Position implements [broker.Attachment].
func (s *server) Position() broker.Position { return broker.Position{Epoch: "bench"} }

// Detach implements [broker.Attachment].
func (s *server) Detach() {}

func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := s.hub.Close(ctx)
	_ = s.http.Close()
	return err
}

// rawSocket writes directly to the kernel.
type rawSocket struct {
	conn *net.TCPConn
	raw  syscall.RawConn
}

func (s *server) rawSockets() ([]rawSocket, error) {
	s.listener.mu.Lock()
	defer s.listener.mu.Unlock()
	out := make([]rawSocket, len(s.listener.conns))
	for i, c := range s.listener.conns {
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, err
		}
		out[i] = rawSocket{c, raw}
	}
	return out, nil
}

// rawMessages writes a frame n times to every socket, one write each, round
// robin, half of the sockets in each of two goroutines.
func rawMessages(sockets []rawSocket, frame []byte, n int) error {
	var wg sync.WaitGroup
	errs := make([]error, 2)
	half := len(sockets) / 2
	for i, part := range [][]rawSocket{sockets[:half], sockets[half:]} {
		wg.Go(func() {
			var sent int
			var errno syscall.Errno
			call := func(fd uintptr) bool {
				sent, errno = writeRaw(fd, frame)
				return true
			}
			for range n {
				for _, s := range part {
					if err := s.raw.Write(call); err != nil {
						errs[i] = err
						return
					}
					if errno != 0 && errno != syscall.EAGAIN {
						errs[i] = errno
						return
					}
					if sent < len(frame) {
						if _, err := s.conn.Write(frame[sent:]); err != nil {
							errs[i] = err
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("raw write: %w", err)
		}
	}
	return nil
}
