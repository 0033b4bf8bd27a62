package turns

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/gateway/pace"
)

// Late is a connection that exceeds a rate.
type Late interface {
	// Wait waits for d because of the named limit. It reports false if waiting has become pointless.
	Wait(limit string, d time.Duration) bool
}

// Pace makes one goroutine wait that exceeds a rate. The zero value is ready.
type Pace struct{ limiter *rate.Limiter }

// Take takes n tokens. There are each more of them per second, up to burst. It waits for missing tokens in
// parts. It uses the real clock, because it waits in real time.
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
