package process

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// collectorShare of the limit, in percent, is what the collector is given; the
	// rest is for what it does not see.
	collectorShare = 90
	// heldShare of what the collector is given, in percent, may be alive before
	// nobody new comes in. Above it the collector works ever more for ever less.
	heldShare = 75
	// lookAgain is the age at which a look at the memory is too old.
	lookAgain = 50 * time.Millisecond
	// collectAgain is the time without a look of the collector after which one is asked
	// for, if somebody is to be refused. By itself it may take two minutes.
	collectAgain = 5 * time.Second
)

// Memory is what the process may use of it and holds. Make it with [FindMemory].
type Memory struct {
	// Limit is in bytes, 0 if there is none. Source says where it comes from.
	Limit  int64
	Source string
	// Collector is what the collector goes by, 0 for nothing.
	Collector int64

	refused atomic.Uint64
	held    func() int64

	mu     sync.Mutex
	looked time.Time
	last   int64
	// since is when the collector was first seen to have had so many cycles.
	cycles uint64
	since  time.Time
}

// FindMemory finds the limit: what was configured in bytes (0 for nothing), otherwise
// that of the cgroup, and in either case not more than GOMEMLIMIT. Unless GOMEMLIMIT is
// set the collector is given nine tenths of it. Call it once, at the start.
func FindMemory(configured int64) *Memory {
	m := &Memory{Limit: configured, Source: "memory.limit", held: alive}
	if m.Limit == 0 {
		if m.Limit = cgroupLimit(os.DirFS("/")); m.Limit > 0 {
			m.Source = "cgroup"
		}
	}
	// A negative number only asks. The runtime has read the variable already.
	if given := debug.SetMemoryLimit(-1); given < math.MaxInt64 {
		m.Collector = given
		if m.Limit == 0 || given < m.Limit {
			m.Limit, m.Source = given, "GOMEMLIMIT"
		}
	} else if m.Limit > 0 {
		m.Collector = m.Limit / 100 * collectorShare
		debug.SetMemoryLimit(m.Collector)
	}
	if m.Limit == 0 {
		m.Source = ""
	}
	return m
}

// Budget is what bounds are derived from: the limit, or what the machine has, or 4 GiB
// where that is not known either.
func (m *Memory) Budget() int64 {
	if m.Limit > 0 {
		return m.Limit
	}
	if total := machineMemory(os.DirFS("/")); total > 0 {
		return total
	}
	return 4 << 30
}

// Room is what the system lets the process have, in bytes, whatever its limit: that of the cgroup or what the machine
// has, 0 where neither is known.
func (m *Memory) Room() int64 {
	machine, group := machineMemory(os.DirFS("/")), cgroupLimit(os.DirFS("/"))
	if group > 0 && (machine <= 0 || group < machine) {
		return group
	}
	return max(machine, 0)
}

// Scarce tells whether so much is held that nobody new should come in. It is cheap
// enough to be asked for every connection.
func (m *Memory) Scarce() bool { return m.Collector > 0 && m.Held() > m.bound() }

// Refuse is Scarce, and counts whom it concerned.
func (m *Memory) Refuse() bool {
	scarce := m.Scarce()
	if scarce {
		m.refused.Add(1)
	}
	return scarce
}

// RefuseConnection is Refuse for who comes from outside. It may wait for the collector: when
// those who held the memory are gone and nobody else comes in, nothing else makes it look.
func (m *Memory) RefuseConnection() bool {
	if m.Scarce() && m.outdated() {
		runtime.GC()
		m.mu.Lock()
		m.looked = time.Time{}
		m.mu.Unlock()
	}
	return m.Refuse()
}

// outdated tells, once, whether the collector has not looked for a while.
func (m *Memory) outdated() bool {
	cycles := read("/gc/cycles/total:gc-cycles")
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if cycles != m.cycles {
		m.cycles, m.since = cycles, now
		return false
	}
	if now.Sub(m.since) < collectAgain {
		return false
	}
	m.since = now
	return true
}

func (m *Memory) bound() int64 { return min(m.Collector, m.Limit) / 100 * heldShare }

// Refused counts what was turned away because memory was scarce.
func (m *Memory) Refused() uint64 { return m.refused.Load() }

// Held is what the collector found alive when it last looked, with all stacks, in bytes.
func (m *Memory) Held() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.looked) > lookAgain {
		m.looked, m.last = now, m.held()
	}
	return m.last
}

// Problem says what is wrong, empty for nothing.
func (m *Memory) Problem() string {
	if !m.Scarce() {
		return ""
	}
	return fmt.Sprintf("connections and new channels are refused: %d MiB of memory are held, and %d of the %d MiB that %s allows may be",
		m.Held()>>20, m.bound()>>20, m.Limit>>20, m.Source)
}

// alive asks the runtime.
func alive() int64 {
	return int64(read("/gc/heap/live:bytes", "/memory/classes/heap/stacks:bytes"))
}

// read is the sum of metrics of the runtime.
func read(names ...string) uint64 {
	s := make([]metrics.Sample, len(names))
	for i := range s {
		s[i].Name = names[i]
	}
	metrics.Read(s)
	n := uint64(0)
	for i := range s {
		if s[i].Value.Kind() == metrics.KindUint64 {
			n += s[i].Value.Uint64()
		}
	}
	return n
}
