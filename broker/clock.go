package broker

import (
	"sync/atomic"
	"time"
)

// Clock tells the time of the log, which gives publications their times. The clock of
// this machine may be another one by hours; ages of publications are differences of
// times of the log. The zero value goes like the clock of this machine until it is set.
// It is safe for use by many goroutines.
type Clock struct {
	ahead atomic.Int64 // of the log, in nanoseconds
}

// Set notes what the clock of the log said when that of this machine said here. Going
// by an answer of the log, it is wrong by at most the time that the answer took.
func (c *Clock) Set(log, here time.Time) {
	if log.IsZero() {
		return
	}
	c.ahead.Store(int64(log.Sub(here.Round(0))))
}

// At is the time of the log when this machine says here.
func (c *Clock) At(here time.Time) time.Time { return here.Add(time.Duration(c.ahead.Load())) }
