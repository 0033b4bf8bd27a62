package load

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/process"
)

// meter measures what the generator and its machine do meanwhile. One goroutine uses it.
type meter struct {
	began   time.Time
	own     float64 // seconds of processor time of this process
	busy    float64 // of the machine
	idle    float64
	waiting *metrics.Float64Histogram
}

// schedLatency is how long goroutines that could run waited for a processor.
const schedLatency = "/sched/latencies:seconds"

func startMeter() *meter {
	m := &meter{began: time.Now(), own: ownCPU(), waiting: schedLatencies()}
	m.busy, m.idle = machineCPU()
	return m
}

// Usage is what the generator and its machine did while it was measured.
type Usage struct {
	// CPU is how many seconds of processor time the generator took, and Cores how many
	// processors that is on average.
	CPU   float64 `json:"cpu_seconds"`
	Cores float64 `json:"cores"`
	// Machine is the share of all processors of the machine that was busy, 0 to 1. It is 0
	// where that is not known.
	Machine float64 `json:"machine_busy"`
	// WaitP99 is how long goroutines that could run waited for a processor: a message that
	// came was read so much later. It is a bound of a bucket.
	WaitP99 float64 `json:"scheduling_p99_ms"`
}

func (m *meter) stop() Usage {
	took := time.Since(m.began).Seconds()
	u := Usage{CPU: ownCPU() - m.own}
	if took > 0 {
		u.Cores = u.CPU / took
	}
	if busy, idle := machineCPU(); busy+idle > m.busy+m.idle {
		u.Machine = (busy - m.busy) / (busy - m.busy + idle - m.idle)
	}
	if now := schedLatencies(); now != nil && m.waiting != nil && len(now.Counts) == len(m.waiting.Counts) {
		counts := make([]uint64, len(now.Counts))
		for i := range counts {
			counts[i] = now.Counts[i] - m.waiting.Counts[i]
		}
		u.WaitP99 = 1e3 * upperBound(counts, now.Buckets, .99)
	}
	return u
}

// upperBound is the end of the bucket that a quantile is in, 0 without counts.
func upperBound(counts []uint64, buckets []float64, q float64) float64 {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range counts {
		if seen += n; n > 0 && seen >= rank {
			if math.IsInf(buckets[i+1], 1) {
				return buckets[i]
			}
			return buckets[i+1]
		}
	}
	return 0
}

func schedLatencies() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: schedLatency}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindFloat64Histogram {
		return nil
	}
	return s[0].Value.Float64Histogram()
}

func ownCPU() float64 {
	p, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return 0
	}
	t, err := p.Times()
	if err != nil {
		return 0
	}
	return t.User + t.System
}

func machineCPU() (busy, idle float64) {
	t, err := cpu.Times(false)
	if err != nil || len(t) == 0 {
		return 0, 0
	}
	idle = t[0].Idle + t[0].Iowait
	return t[0].User + t[0].Nice + t[0].System + t[0].Irq + t[0].Softirq + t[0].Steal, idle
}

// cores is how many processors the generator may use.
func cores() int { return runtime.GOMAXPROCS(0) }
