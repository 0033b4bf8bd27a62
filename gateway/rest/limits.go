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

// The names of the limits, as [Options.Limited] is told them.
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

// buckets bound what one app may ask for in a second; nil is no bound.
type buckets struct{ events, reads *rate.Limiter }

// bucketsOf are those of an app. A second's worth may come at once. When limits have changed, what is in a bucket stays.
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

// Apply takes over which apps there are now, and with which secrets: what was kept of others is forgotten.
func (a *API) Apply() {
	a.signers.Clear() // they are made again as they are needed
	a.bucketMu.Lock()
	defer a.bucketMu.Unlock()
	maps.DeleteFunc(a.buckets, func(id string, _ *buckets) bool { return a.opt.Apps.ByID(id) == nil })
}

// take takes n tokens, or none and says when to come again. A request for more than a second's worth
// is let through when the bucket is full. The bucket then owes the rest, so requests behind it wait for
// as long as it took. It asks first, because a reservation that is given back has meanwhile stood
// in the way of other requests.
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

// noteLimit counts a refusal by a limit. It does not ask whether the request was
// signed, since a body that is too large is never checked.
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
