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

// meter measures the generator and its machine during a run. It is not safe for concurrent use.
type meter struct {
	began   time.Time
	own     float64 // processor time of this process in seconds
	busy    float64 // of the machine
	idle    float64
	waiting *metrics.Float64Histogram
}

// schedLatency is the metric for how long runnable goroutines waited for a processor.
const schedLatency = "/sched/latencies:seconds"

func startMeter() *meter {
	m := &meter{began: time.Now(), own: ownCPU(), waiting: schedLatencies()}
	m.busy, m.idle = machineCPU()
	return m
}

// Usage is the load of the generator and its machine during a measurement.
type Usage struct {
	// CPU is the processor time of the generator in seconds, and Cores the average number of processors.
	CPU   float64 `json:"cpu_seconds"`
	Cores float64 `json:"cores"`
	// Machine is the busy share of all processors of the machine, 0 to 1; 0 if it is unknown.
	Machine float64 `json:"machine_busy"`
	// WaitP99 is how long runnable goroutines waited for a processor, so how much later messages were read. It
	// is the bound of a bucket.
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

// upperBound returns the upper bound of the bucket of a quantile, 0 without counts.
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

// cores returns how many processors the generator may use.
func cores() int { return runtime.GOMAXPROCS(0) }
