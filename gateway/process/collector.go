package process

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// LeastGarbage is how much garbage there is before the collector looks for it, in bytes. Small
// gateways that take in much would be collected a dozen times a second otherwise, which is a fifth
// of what a publish costs them. It is at most what their memory grows by.
const LeastGarbage = 32 << 20

// usualPercent is how much garbage there may be in per cent of what is alive.
const usualPercent = 100

// EaseCollector has the collector wait until there is so much garbage as is alive, and at least
// as many bytes as are given, but for memory that is scarce: a fourth of the limit of the collector
// is not exceeded by that. It does nothing where GOGC is set. The function that it returns ends it.
func (m *Memory) EaseCollector(least int64) (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	if m.Collector > 0 {
		least = min(least, m.Collector/4)
	}
	e := &easing{least: least, percent: usualPercent}
	e.adjust()
	e.again()
	return e.stop
}

// easing sets the percentage of the collector after each of its cycles.
type easing struct {
	least int64

	mu      sync.Mutex
	percent int
	ended   bool
}

// again has the percentage adjusted after the next cycle: the runtime finds then that nobody has
// what this makes.
func (e *easing) again() {
	runtime.SetFinalizer(&struct{ of *easing }{e}, func(made *struct{ of *easing }) {
		if made.of.adjust() {
			made.of.again()
		}
	})
}

// adjust says false after the end. Setting the percentage stops everybody for a moment, so small
// changes are left out.
func (e *easing) adjust() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return false
	}
	if want := percentFor(alive(), e.least); want < e.percent*9/10 || want > e.percent*11/10 {
		e.percent = want
		debug.SetGCPercent(want)
	}
	return true
}

func (e *easing) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	debug.SetGCPercent(usualPercent)
}

// leastAlive is what the runtime counts as alive at least, in bytes.
const leastAlive = 4 << 20

// percentFor is the percentage that lets there be at least so much garbage beside what is alive.
func percentFor(alive, least int64) int {
	return max(usualPercent, int(100*least/max(alive, leastAlive)))
}
