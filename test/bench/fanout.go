package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// arena is one server with its clients, on which variants take turns.
type arena struct {
	server  *server
	child   *child
	raw     []rawSocket
	sockets int
	arrived int64
	source  *source
}

func newArena(sockets int, deltas app.Delta, src *source) (*arena, error) {
	s, err := startServer(deltas)
	if err != nil {
		return nil, err
	}
	c, err := startChild(s.listener.Addr().String(), sockets, benchChannel, deltas.Enabled)
	if err != nil {
		return nil, err
	}
	a := &arena{server: s, child: c, sockets: sockets, source: src}
	if a.raw, err = s.rawSockets(); err != nil {
		return nil, err
	}
	if len(a.raw) != sockets {
		return nil, fmt.Errorf("%d connections, want %d", len(a.raw), sockets)
	}
	a.arrived, err = c.bytes()
	return a, err
}

func (a *arena) close() error {
	if err := a.child.stop(); err != nil {
		return err
	}
	return a.server.close()
}

// source makes the data of publications.
type source struct {
	event string
	next  func() []byte
}

// fixed always gives the same payload.
func fixed(size int) *source {
	data := make([]byte, 0, size)
	data = append(data, `{"pad":"`...)
	for len(data) < size-2 {
		data = append(data, 'x')
	}
	data = append(data, `"}`...)
	return &source{event: "tick", next: func() []byte { return data }}
}

// plainFrame is the frame of a publication as a socket without deltas gets it.
func plainFrame(event string, data []byte) []byte {
	text := pusher.AppendBare(nil, pusher.V1, &pusher.EventFrame{Event: event, Channel: benchChannel, Data: data})
	head := []byte{0x81, byte(len(text))}
	if len(text) > 125 {
		head = []byte{0x81, 126, byte(len(text) >> 8), byte(len(text))}
	}
	return append(head, text...)
}

// measured runs f, which delivers n messages to every socket, and takes the
// sample. f returns the bytes that it sent, or 0 if the hub knows.
func (a *arena) measured(n int, f func() (wire int64, waits []time.Duration, err error)) (sample, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stats, c, t := a.server.hub.Stats(), cpu(), time.Now()
	wire, waits, err := f()
	if err != nil {
		return sample{}, err
	}
	s := sample{delivered: n * a.sockets, elapsed: time.Since(t), cpu: cpu() - c, waits: waits, wire: wire}
	runtime.ReadMemStats(&after)
	now := a.server.hub.Stats()
	s.frames, s.writes, s.allocs = now.Frames-stats.Frames, now.Writes-stats.Writes, after.Mallocs-before.Mallocs
	if now.Overflowed != stats.Overflowed {
		return s, fmt.Errorf("%d sockets were closed as too slow", now.Overflowed-stats.Overflowed)
	}
	if wire > 0 {
		a.arrived += wire
		return s, a.child.await(a.arrived)
	}
	return s, a.settle(&s)
}

// settle waits until no more bytes arrive and notes how many there were. It is
// for streams with deltas, whose size only the hub knows.
func (a *arena) settle(s *sample) error {
	for same := 0; same < 5; {
		got, err := a.child.bytes()
		if err != nil {
			return err
		}
		if got == a.arrived+s.wire {
			same++
		} else {
			same, s.wire = 0, got-a.arrived
		}
		time.Sleep(4 * time.Millisecond)
	}
	a.arrived += s.wire
	return nil
}

// rawLimit is the baseline: one write of a prebuilt frame per socket and message.
func (a *arena) rawLimit(n int) (sample, error) {
	frame := plainFrame(a.source.event, a.source.next())
	return a.measured(n, func() (int64, []time.Duration, error) {
		return int64(n) * int64(a.sockets) * int64(len(frame)), nil, rawMessages(a.raw, frame, n)
	})
}

// windowed publishes n messages through the hub with at most `window` of them
// on their way. known is false when the size of frames is not.
func (a *arena) windowed(n, window int, known bool) (sample, error) {
	var wire int64
	return a.measured(n, func() (int64, []time.Duration, error) {
		start := a.server.hub.Stats().Frames
		written := func() int { return int((a.server.hub.Stats().Frames - start) / uint64(a.sockets)) }
		var waits []time.Duration
		deadline := time.Now().Add(time.Minute)
		for i := range n {
			data := a.source.next()
			if known {
				wire += int64(a.sockets) * int64(len(plainFrame(a.source.event, data)))
			}
			t := time.Now()
			a.server.publish(a.source.event, data)
			for i+1-written() >= window {
				if time.Now().After(deadline) {
					return 0, nil, fmt.Errorf("%d of %d messages were written", written(), n)
				}
				// Waiting by sleeping costs the measured process little; it
				// adds up to its length to the times taken.
				time.Sleep(20 * time.Microsecond)
			}
			if window == 1 {
				waits = append(waits, time.Since(t))
			}
		}
		for written() < n {
			if time.Now().After(deadline) {
				return 0, nil, fmt.Errorf("%d of %d messages were written", written(), n)
			}
			time.Sleep(20 * time.Microsecond)
		}
		return wire, waits, nil
	})
}
