// Package pace makes limiters follow limits that change.
package pace

import "golang.org/x/time/rate"

// Adjust makes a limiter what it should be: perSecond with a burst, nil if perSecond is 0 or less.
// What it has given out stays. The caller sees to it that nobody else adjusts the same one.
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
