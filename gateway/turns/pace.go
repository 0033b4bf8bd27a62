package turns

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/gateway/pace"
)

// Late is who does something more often than he may.
type Late interface {
	// Wait waits, for the sake of the limit of that name, and reports false when there is
	// nothing to wait for any more.
	Wait(limit string, d time.Duration) bool
}

// Pace makes one goroutine wait that does something more often than it may. The zero value is
// ready.
type Pace struct{ limiter *rate.Limiter }

// Take takes n tokens, of which each second brings some, up to a burst. What is not there yet is
// waited for, part by part. The real clock counts, because real time is what is waited for.
func (p *Pace) Take(n, each, burst int, limit string, by Late) {
	pace.Adjust(&p.limiter, each, burst)
	for n > 0 {
		part := min(n, p.limiter.Burst())
		n -= part
		if d := p.limiter.ReserveN(time.Now(), part).Delay(); d > 0 && !by.Wait(limit, d) {
			return
		}
	}
}
