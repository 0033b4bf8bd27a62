package turns

import (
	"os"
	"runtime"
	"time"
)

// gauge measures how late this process is for what comes from elsewhere. A timer alone does not tell: it
// passes by everything that the system has for this process and nobody has fetched yet, which is fetched in
// the order in which it came, and thousands of connections stand in that queue in front of a live event. So
// each step ends with a byte through a pipe.
type gauge struct {
	in, out *os.File
	// came is told of each byte, and closed when there are no more.
	came chan struct{}
}

// measure begins to measure.
func measure() (late func() time.Duration, end func()) {
	g := newGauge()
	return g.step, g.close
}

// newGauge returns one without a pipe if there are no descriptors left.
func newGauge() *gauge {
	g := &gauge{}
	out, in, err := os.Pipe()
	if err != nil {
		return g
	}
	g.in, g.out, g.came = in, out, make(chan struct{}, 1)
	go g.read()
	return g
}

func (g *gauge) read() {
	defer close(g.came)
	var one [1]byte
	for {
		if _, err := g.out.Read(one[:]); err != nil {
			return
		}
		g.came <- struct{}{}
	}
}

// step waits for a step, and then until everything that this process could do, and that waits for it, has
// had its turn. It returns how late that was.
func (g *gauge) step() time.Duration {
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

// close ends it.
func (g *gauge) close() {
	if g.in == nil {
		return
	}
	_ = g.in.Close()
	for range g.came {
	}
	_ = g.out.Close()
}
