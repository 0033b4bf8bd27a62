package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are stored in microseconds with three significant digits. Longer ones than longest count as that.
const (
	longest = 10 * time.Minute
	digits  = 3
)

// recorder collects latencies. It is safe for concurrent use; goroutines with different lanes rarely wait for
// each other. newRecorder creates it.
type recorder struct {
	name  string
	lanes []lane
}

type lane struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
	_  [40]byte // two lanes share no cache line
}

func newRecorder(name string, lanes int) *recorder {
	r := &recorder{name: name, lanes: make([]lane, lanes)}
	for i := range r.lanes {
		r.lanes[i].h = hdrhistogram.New(1, longest.Microseconds(), digits)
	}
	return r
}

// record adds a latency; a negative one counts as 0.
func (r *recorder) record(by int, d time.Duration) {
	l := &r.lanes[by%len(r.lanes)]
	l.mu.Lock()
	// The value is within the bounds, so there is no error.
	_ = l.h.RecordValue(min(max(d, 0), longest).Microseconds())
	l.mu.Unlock()
}

// sum returns everything that was recorded so far.
func (r *recorder) sum() *hdrhistogram.Histogram {
	out := hdrhistogram.New(1, longest.Microseconds(), digits)
	for i := range r.lanes {
		l := &r.lanes[i]
		l.mu.Lock()
		out.Merge(l.h)
		l.mu.Unlock()
	}
	return out
}

// Distribution is the distribution of a latency, in milliseconds.
type Distribution struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Min   float64 `json:"min_ms"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
	// Histogram has all values in microseconds, in the compressed form of HdrHistogram.
	Histogram string `json:"histogram,omitempty"`
}

func (r *recorder) distribution() Distribution {
	h := r.sum()
	d := Distribution{Name: r.name, Count: h.TotalCount()}
	if d.Count == 0 {
		return d
	}
	at := func(percent float64) float64 { return float64(h.ValueAtPercentile(percent)) / 1e3 }
	d.Min, d.Mean, d.Max = float64(h.Min())/1e3, h.Mean()/1e3, float64(h.Max())/1e3
	d.P50, d.P90, d.P99, d.P999 = at(50), at(90), at(99), at(99.9)
	if text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		d.Histogram = string(text)
	}
	return d
}
