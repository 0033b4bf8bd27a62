// Package pace makes rate limiters follow limits that change.
package pace

import "golang.org/x/time/rate"

// Adjust sets a limiter to perSecond with a burst, or to nil if perSecond is 0 or less. Tokens that were
// taken stay taken. Not safe for concurrent use with the same limiter.
func Adjust(l **rate.Limiter, perSecond, burst int) {
	switch {
	case perSecond <= 0:
		*l = nil
	case *l == nil:
		*l = rate.NewLimiter(rate.Limit(perSecond), burst)
	case (*l).Limit() != rate.Limit(perSecond) || (*l).Burst() != burst:
		(*l).SetLimit(rate.Limit(perSecond))
		(*l).SetBurst(burst)
	}
}
