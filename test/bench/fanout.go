package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// arena is one server with its clients, on which variants alternate.
type arena struct {
	contender
	// server is the contender if that is this product.
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
	speaks := "plain"
	if deltas.Enabled {
		speaks = "delta"
	}
	a := &arena{contender: s, server: s, sockets: sockets, source: src}
	if a.child, err = startChild(s.listener.Addr().String(), sockets, benchChannel, speaks); err != nil {
		return nil, err
	}
	if a.raw, err = s.rawSockets(); err != nil {
		return nil, err
	}
	if len(a.raw) != sockets {
		return nil, fmt.Errorf("%d connections, want %d", len(a.raw), sockets)
	}
	a.arrived, err = a.child.bytes()
	return a, err
}

func (a *arena) close() error {
	if err := a.child.stop(); err != nil {
		return err
	}
	return a.contender.close()
}

// source produces the data of publications.
type source struct {
	event string
	next  func() []byte
}

func (s *source) take(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = s.next()
	}
	return out
}

// fixed returns a source that always produces the same payload.
func fixed(size int) *source {
	data := make([]byte, 0, size)
	data = append(data, `{"pad":"`...)
	for len(data) < size-2 {
		data = append(data, 'x')
	}
	data = append(data, `"}`...)
	return &source{event: "tick", next: func() []byte { return data }}
}

// plainFrame returns the frame of a publication for a socket without deltas.
func plainFrame(event string, data []byte) []byte {
	return framed(pusher.AppendBare(nil, pusher.V1, &pusher.EventFrame{Event: event, Channel: benchChannel, Data: data}))
}

// framed returns a text with the header of an unmasked text message.
func framed(text []byte) []byte {
	switch n := len(text); {
	case n <= 125:
		return append([]byte{0x81, byte(n)}, text...)
	case n <= 0xffff:
		return append([]byte{0x81, 126, byte(n >> 8), byte(n)}, text...)
	default:
		return append([]byte{0x81, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)
	}
}

// measured runs f, which delivers n messages to every socket, and returns the sample. wire is the number of
// bytes that must arrive, 0 if it is not known.
func (a *arena) measured(n int, wire int64, f func() ([]time.Duration, error)) (sample, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var frames, writes, overflowed uint64
	if a.server != nil {
		s := a.server.hub.Stats()
		frames, writes, overflowed = s.Frames, s.Writes, s.Overflowed
	}
	c, t := cpu(), time.Now()
	waits, err := f()
	if err != nil {
		return sample{}, err
	}
	s := sample{delivered: n * a.sockets, elapsed: time.Since(t), cpu: cpu() - c, waits: waits, wire: wire}
	runtime.ReadMemStats(&after)
	s.allocs = after.Mallocs - before.Mallocs
	if a.server != nil {
		now := a.server.hub.Stats()
		s.frames, s.writes = now.Frames-frames, now.Writes-writes
		if now.Overflowed != overflowed {
			return s, fmt.Errorf("%d sockets were closed as too slow", now.Overflowed-overflowed)
		}
	}
	if wire > 0 {
		a.arrived += wire
		return s, a.child.await(a.arrived)
	}
	return s, a.settle(&s)
}

// settle waits until no more bytes arrive and records how many there were.
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
	return a.measured(n, int64(n)*int64(a.sockets)*int64(len(frame)), func() ([]time.Duration, error) {
		return nil, rawMessages(a.raw, frame, n)
	})
}

// windowed publishes n messages with at most `window` of them in flight. known is false if the size of frames
// is not known.
func (a *arena) windowed(n, window int, known bool) (sample, error) {
	data := a.source.take(n)
	var wire int64
	if known {
		for _, d := range data {
			wire += int64(a.sockets) * int64(len(plainFrame(a.source.event, d)))
		}
	}
	sends := a.prepare(a.source.event, data)
	return a.measured(n, wire, func() ([]time.Duration, error) { return drive(a, sends, a.sockets, window) })
}
