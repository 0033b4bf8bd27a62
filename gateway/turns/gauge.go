package turns

import (
	"os"
	"runtime"
	"time"
)

// Gauge measures how late this process handles what comes from outside. A timer alone does not show that: it
// bypasses the network events that the process has not fetched yet. These are handled in the order in which
// they came, and thousands of connections may be in that queue before a live event. So each step ends with a
// byte through a pipe, which is in the same queue. Several doors may share a gauge: it does not matter which
// of them takes which byte. The zero value uses only the timer.
type Gauge struct {
	in, out *os.File
	// came gets a value for each byte, and is closed when there are no more.
	came chan struct{}
}

// Begin opens the pipe and keeps it open, because descriptors may be scarce when a crowd arrives. If that
// fails, only the timer is used. No step may be in progress.
func (g *Gauge) Begin() {
	out, in, err := os.Pipe()
	if err != nil {
		return
	}
	g.in, g.out, g.came = in, out, make(chan struct{}, 1)
	go g.read()
}

func (g *Gauge) read() {
	defer close(g.came)
	var one [1]byte
	for {
		if _, err := g.out.Read(one[:]); err != nil {
			return
		}
		g.came <- struct{}{}
	}
}

// step waits for a step, and then until everything that is ready in this process has had its turn. It returns
// how late that was.
func (g *Gauge) step() time.Duration {
	due := time.Now().Add(flowStep)
	time.Sleep(flowStep)
	if g.in != nil {
		if _, err := g.in.Write([]byte{0}); err == nil {
			<-g.came
		}
	}
	runtime.Gosched()
	return time.Since(due)
}

// End closes the pipe. The doors must be open, so that no step is in progress or follows.
func (g *Gauge) End() {
	if g.in == nil {
		return
	}
	_ = g.in.Close()
	for range g.came {
	}
	_ = g.out.Close()
}
