package process

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// LeastGarbage is the amount of garbage in bytes below which the collector does not run. Otherwise the collector
// would run a dozen times a second in small gateways with many publishes, which is a fifth of the cost of a
// publish. The memory of the process grows by at most this.
const LeastGarbage = 32 << 20

// usualPercent is the usual GOGC: garbage in percent of the live heap.
const usualPercent = 100

// EaseCollector lets the collector wait until there is as much garbage as live memory, and at least so many
// bytes, but at most a quarter of the collector's memory limit. It does nothing if GOGC is set. The returned
// function ends it.
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

// easing adjusts GOGC after each cycle of the collector.
type easing struct {
	least int64

	mu      sync.Mutex
	percent int
	ended   bool
}

// again adjusts GOGC after the next cycle, with the finalizer of an unreachable object.
func (e *easing) again() {
	runtime.SetFinalizer(&struct{ of *easing }{e}, func(made *struct{ of *easing }) {
		if made.of.adjust() {
			made.of.again()
		}
	})
}

// adjust sets GOGC, and reports false after stop. Setting it stops the world for a moment, so small changes are
// skipped.
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

// leastAlive is the minimum heap that the runtime assumes, in bytes.
const leastAlive = 4 << 20

// percentFor returns the GOGC that allows at least so much garbage.
func percentFor(alive, least int64) int {
	return max(usualPercent, int(100*least/max(alive, leastAlive)))
}
