package broker

import (
	"sync/atomic"
	"time"
)

// Clock tells the time of the log, which stamps publications. It may differ from this machine's clock by
// hours, so ages of publications are differences of log times. Until it is set, the zero value tells this
// machine's time. Safe for concurrent use.
type Clock struct {
	ahead atomic.Int64 // of the log before this machine, in nanoseconds
}

// Set records that the log's clock showed log when this machine's clock showed here. If log comes from an
// answer of the log, the error is at most the time that the answer took. A zero log is ignored.
func (c *Clock) Set(log, here time.Time) {
	if log.IsZero() {
		return
	}
	c.ahead.Store(int64(log.Sub(here.Round(0))))
}

// At returns the time of the log when this machine's clock shows here.
func (c *Clock) At(here time.Time) time.Time { return here.Add(time.Duration(c.ahead.Load())) }
