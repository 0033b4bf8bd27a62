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
	// collectorShare is the part of the limit in percent that is set for the collector. The rest is for memory
	// that it does not count.
	collectorShare = 90
	// heldShare is the part of the collector's limit in percent that may be live before new clients are refused.
	// Above it, the collector works more and more for less and less memory.
	heldShare = 75
	// lookAgain is the age at which a measurement of the memory is repeated.
	lookAgain = 50 * time.Millisecond
	// collectAgain is the time without a collection after which one is started before a connection is refused.
	// By itself, the runtime may wait for two minutes.
	collectAgain = 5 * time.Second
)

// Memory is the memory limit of the process and its use. [FindMemory] creates it. It is safe for concurrent use.
type Memory struct {
	// Limit is in bytes, 0 if there is none. Source is where it comes from.
	Limit  int64
	Source string
	// Collector is the memory limit of the collector in bytes, 0 for none.
	Collector int64

	refused atomic.Uint64
	held    func() int64

	mu     sync.Mutex
	looked time.Time
	last   int64
	// since is when the present number of collections was first seen.
	cycles uint64
	since  time.Time
}

// FindMemory finds the limit: the configured one in bytes (0 for none), otherwise that of the cgroup, and in
// either case at most GOMEMLIMIT. Unless GOMEMLIMIT is set, it sets nine tenths of it as the collector's limit.
// Call it once, at the start.
func FindMemory(configured int64) *Memory {
	m := &Memory{Limit: configured, Source: "memory.limit", held: alive}
	if m.Limit == 0 {
		if m.Limit = cgroupLimit(os.DirFS("/")); m.Limit > 0 {
			m.Source = "cgroup"
		}
	}
	// A negative number only reads the limit. The runtime has read GOMEMLIMIT already.
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

// Budget returns the memory from which bounds are derived: the limit, or the machine's memory, or 4 GiB if that
// is unknown.
func (m *Memory) Budget() int64 {
	if m.Limit > 0 {
		return m.Limit
	}
	if total := machineMemory(os.DirFS("/")); total > 0 {
		return total
	}
	return 4 << 30
}

// Room returns how much memory the system allows the process, in bytes, whatever its limit: the cgroup's limit
// or the machine's memory, 0 if both are unknown.
func (m *Memory) Room() int64 {
	machine, group := machineMemory(os.DirFS("/")), cgroupLimit(os.DirFS("/"))
	if group > 0 && (machine <= 0 || group < machine) {
		return group
	}
	return max(machine, 0)
}

// Scarce reports whether so much memory is live that new clients should be refused. It is cheap enough for every
// connection.
func (m *Memory) Scarce() bool { return m.Collector > 0 && m.Held() > m.bound() }

// Refuse is Scarce, and counts a refusal.
func (m *Memory) Refuse() bool {
	scarce := m.Scarce()
	if scarce {
		m.refused.Add(1)
	}
	return scarce
}

// RefuseConnection is Refuse for external connections. It may run a collection: when the clients that used the
// memory are gone and all others are refused, nothing else starts one.
func (m *Memory) RefuseConnection() bool {
	if m.Scarce() && m.outdated() {
		runtime.GC()
		m.mu.Lock()
		m.looked = time.Time{}
		m.mu.Unlock()
	}
	return m.Refuse()
}

// outdated reports, once per collectAgain, that no collection has taken place for that long.
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

// Refused returns the number of refusals because of memory.
func (m *Memory) Refused() uint64 { return m.refused.Load() }

// Held returns the live heap of the last collection with all stacks, in bytes.
func (m *Memory) Held() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.looked) > lookAgain {
		m.looked, m.last = now, m.held()
	}
	return m.last
}

// Problem returns what is wrong, empty for nothing.
func (m *Memory) Problem() string {
	if !m.Scarce() {
		return ""
	}
	return fmt.Sprintf("connections and new channels are refused: %d MiB of memory are held, and %d of the %d MiB that %s allows may be",
		m.Held()>>20, m.bound()>>20, m.Limit>>20, m.Source)
}

// alive reads the live memory from the runtime.
func alive() int64 {
	return int64(read("/gc/heap/live:bytes", "/memory/classes/heap/stacks:bytes"))
}

// read returns the sum of metrics of the runtime.
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
