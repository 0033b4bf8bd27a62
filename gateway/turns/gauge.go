package turns

import (
	"os"
	"runtime"
	"time"
)

// Gauge measures how late this process is for what comes from elsewhere. A timer alone does not tell: it
// passes by everything that the system has for this process and nobody has fetched yet, which is fetched in
// the order in which it came, and thousands of connections stand in that queue in front of a live event. So
// each step ends with a byte through a pipe. Several doors may have one: which of them takes which byte makes
// no difference, for all of them stand in the same queue. The zero value goes by the timer alone.
type Gauge struct {
	in, out *os.File
	// came is told of each byte, and closed when there are no more.
	came chan struct{}
}

// Begin gives it its pipe, which it keeps: when a crowd is there, descriptors may be scarce. Without one
// there is none. No step may be under way.
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

// step waits for a step, and then until everything that this process could do, and that waits for it, has
// had its turn. It returns how late that was.
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

// End gives the pipe back. The doors are open, so that no step is under way and none comes.
func (g *Gauge) End() {
	if g.in == nil {
		return
	}
	_ = g.in.Close()
	for range g.came {
	}
	_ = g.out.Close()
}
