package main

import (
	"fmt"
	"time"
)

// contender is a server whose fan-out is measured.
type contender interface {
	// prepare prepares messages, so that only sending them is measured.
	prepare(event string, data [][]byte) []func()
	// written returns the number of messages handed to the kernel, over all sockets.
	written() uint64
	close() error
}

// prepare implements [contender].
func (s *server) prepare(event string, data [][]byte) []func() {
	out := make([]func(), len(data))
	for i, d := range data {
		p := s.publication(event, d)
		out[i] = func() { s.sink.Publication(p) }
	}
	return out
}

// written implements [contender].
func (s *server) written() uint64 { return s.hub.Stats().Frames }

// drive sends messages with at most window of them in flight. For a window of one it returns how long each
// took to be written to every socket.
func drive(c contender, sends []func(), sockets, window int) ([]time.Duration, error) {
	start := c.written()
	done := func() int { return int((c.written() - start) / uint64(sockets)) }
	var waits []time.Duration
	if window == 1 {
		waits = make([]time.Duration, 0, len(sends))
	}
	deadline := time.Now().Add(2 * time.Minute)
	var usual time.Duration
	wait := func(most, sent int) error {
		begin := time.Now()
		// Checking costs measured processor time. So the first check comes after three quarters of the time
		// of the last message, and later ones every 20 µs, which adds up to 20 µs to the measured times.
		time.Sleep(usual * 3 / 4)
		for sent-done() > most {
			if time.Now().After(deadline) {
				return fmt.Errorf("%d of %d messages were written", done(), len(sends))
			}
			time.Sleep(20 * time.Microsecond)
		}
		if most == 0 {
			usual = min(time.Since(begin), 50*time.Millisecond)
		}
		return nil
	}
	for i, send := range sends {
		t := time.Now()
		send()
		if err := wait(window-1, i+1); err != nil {
			return nil, err
		}
		if window == 1 {
			waits = append(waits, time.Since(t))
		}
	}
	return waits, wait(0, len(sends))
}
