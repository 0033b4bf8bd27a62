package rest

import (
	"errors"
	"math"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/gateway/app"
)

// buckets bound what one app may ask for in a second; nil is no bound.
type buckets struct{ events, reads *rate.Limiter }

// newBuckets makes the buckets of an app. A second's worth may come at once, and at
// least the largest single request.
func newBuckets(a *app.App) buckets {
	var b buckets
	if n := a.Limits.EventsPerSecond; n > 0 {
		b.events = rate.NewLimiter(rate.Limit(n), max(n, a.Limits.MaxChannelsPerEvent, a.Limits.MaxBatchSize))
	}
	if n := a.Limits.ReadsPerSecond; n > 0 {
		b.reads = rate.NewLimiter(rate.Limit(n), n)
	}
	return b
}

// take takes n tokens, or none and says when to come again.
func (r *request) take(bucket *rate.Limiter, limit string, n int) error {
	if bucket == nil {
		return nil
	}
	now := r.api.opt.Now()
	wait := bucket.ReserveN(now, n)
	delay := wait.DelayFrom(now)
	if delay == 0 {
		return nil
	}
	wait.CancelAt(now)
	r.limited(limit)
	r.retryAfter = int(math.Ceil(float64(delay) / float64(time.Second)))
	return fail(http.StatusTooManyRequests, "rate_limited", "the app is over its limit of %g %s; try again in %d s",
		float64(bucket.Limit()), limit, r.retryAfter)
}

func (r *request) limited(limit string) {
	if r.app != nil {
		r.api.opt.Limited(r.app.ID, limit)
	}
}

// noteLimits counts a refusal by one of the limits that are checked elsewhere.
func (r *request) noteLimits(err error) {
	var f *failure
	if !errors.As(err, &f) {
		return
	}
	switch f.Code {
	case "payload_too_large":
		r.limited("payload")
	case "limit_exceeded":
		r.limited("request")
	}
}
