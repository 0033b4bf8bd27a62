package pace

import (
	"testing"

	"golang.org/x/time/rate"
)

func TestAdjustFollowsLimits(t *testing.T) {
	var l *rate.Limiter
	for _, c := range []struct{ perSecond, burst, granted int }{
		{2, 3, 3}, {2, 3, 0}, {1, 10, 7}, {0, 5, -1}, {4, 4, 4},
	} {
		Adjust(&l, c.perSecond, c.burst)
		if c.granted < 0 {
			if l != nil {
				t.Errorf("there is a limiter without a limit")
			}
			continue
		}
		if l.Burst() != c.burst || l.Limit() != rate.Limit(c.perSecond) {
			t.Errorf("got %v with a burst of %d, want %d and %d", l.Limit(), l.Burst(), c.perSecond, c.burst)
		}
		for range c.granted {
			l.Allow()
		}
	}
}
