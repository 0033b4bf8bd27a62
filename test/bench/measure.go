package main

import (
	"slices"
	"syscall"
	"time"
)

// cpu returns the processor time of this process, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sample is the result of one round of one variant.
type sample struct {
	delivered int
	elapsed   time.Duration
	cpu       time.Duration
	frames    uint64
	writes    uint64
	allocs    uint64
	wire      int64
	// waits are the times from publishing to the write to the last socket, if they were measured.
	waits []time.Duration
}

func (s sample) cpuPerMessage() float64 { return float64(s.cpu.Nanoseconds()) / float64(s.delivered) }
func (s sample) rate() float64          { return float64(s.delivered) / s.elapsed.Seconds() }

// spread is a median with the lowest and the highest value.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	return spread{v[0], v[len(v)/2], v[len(v)-1]}
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Clone(d)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}
