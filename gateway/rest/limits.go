package rest

import (
	"errors"
	"maps"
	"math"
	"net/http"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pace"
)

// The names of the limits, as [Options.Limited] gets them.
const (
	limitEvents    = "events_per_second"
	limitReads     = "reads_per_second"
	limitPayload   = "payload"
	limitChannels  = "channels"
	limitBatch     = "batch"
	limitEventName = "event_name"
	limitBody      = "body"
	limitBodies    = "bodies"
	limitAnswers   = "answers"
)

// buckets are the rate limiters of one app; nil means no limit.
type buckets struct{ events, reads *rate.Limiter }

// bucketsOf returns the rate limiters of an app, whose burst is one second's worth. Their fill level survives a
// change of limits.
func (a *API) bucketsOf(of *app.App) buckets {
	a.bucketMu.Lock()
	defer a.bucketMu.Unlock()
	b := a.buckets[of.ID]
	if b == nil {
		if a.buckets == nil {
			a.buckets = map[string]*buckets{}
		}
		b = &buckets{}
		a.buckets[of.ID] = b
	}
	l := &of.Limits
	pace.Adjust(&b.events, l.EventsPerSecond, l.EventsPerSecond)
	pace.Adjust(&b.reads, l.ReadsPerSecond, l.ReadsPerSecond)
	return *b
}

// Apply drops the state of apps that are no longer in the registry, and all cached signers. It is called after
// the registry has changed.
func (a *API) Apply() {
	a.signers.Clear() // they are made again on demand
	a.bucketMu.Lock()
	defer a.bucketMu.Unlock()
	maps.DeleteFunc(a.buckets, func(id string, _ *buckets) bool { return a.opt.Apps.ByID(id) == nil })
}

// take takes n tokens, or takes none and returns an error with the time to retry after. A request for more than
// a second's worth is admitted when the bucket is full; the bucket then owes the rest, and later requests wait
// that long. It uses AllowN first, because a cancelled reservation would have delayed other requests meanwhile.
func (r *request) take(bucket *rate.Limiter, limit, what string, n int) error {
	if bucket == nil {
		return nil
	}
	now, second := r.api.opt.Now(), bucket.Burst()
	if bucket.AllowN(now, min(n, second)) {
		for owed := n - second; owed > 0; owed -= second {
			bucket.ReserveN(now, min(owed, second))
		}
		return nil
	}
	perSecond := float64(bucket.Limit())
	missing := float64(min(n, second)) - bucket.TokensAt(now)
	r.retryAfter = max(1, int(math.Ceil(missing/perSecond)))
	return crossed(limit, http.StatusTooManyRequests, "rate_limited", "the app is over its limit of %g %s per second; try again in %d s",
		perSecond, what, r.retryAfter)
}

// noteLimit counts a refusal by a limit. The request need not be signed: a body that is too large is refused
// before its signature is verified.
func (r *request) noteLimit(err error) {
	if r.app == nil || err == nil {
		return
	}
	var f *failure
	switch {
	case errors.As(err, &f) && f.limit != "":
		r.api.opt.Limited(r.app.ID, f.limit)
	case errors.Is(err, broker.ErrTooLarge):
		r.api.opt.Limited(r.app.ID, limitPayload)
	}
}
