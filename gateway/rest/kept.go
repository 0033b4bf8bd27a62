package rest

import (
	"context"
	"net/http"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// keptPage is the maximum number of channels in an answer.
const keptPage = 1000

// kept serves GET /apps/ID/history: the names of channels with a readable history, in byte order.
func (r *request) kept() (any, error) {
	if !r.app.HistoryEnabled {
		return nil, fail(http.StatusUnprocessableEntity, "feature_disabled", "history is not enabled for this app")
	}
	log, ok := r.api.opt.History.(broker.Listing)
	if !ok {
		return nil, fail(http.StatusUnprocessableEntity, "feature_disabled", "this backend does not list the channels that it keeps")
	}
	limit, err := r.limit(keptPage)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.listing()
	defer cancel()
	all, err := r.api.kept.Do(ctx, r.app.ID, func(ctx context.Context) ([]string, error) { return log.Channels(ctx, r.app.ID, "") })
	if err != nil {
		return nil, err
	}
	all = broker.Beginning(all, r.params.Get("filter_by_prefix"))
	from, known := slices.BinarySearch(all, r.params.Get("after"))
	if known {
		from++
	}
	out := []string{}
	for _, c := range all[from:] {
		if r.app.Readings.Of(c).Off || pusher.KindOf(c).ServerToUser() || pusher.CheckChannel(c, r.app.Limits.MaxChannelLength) != nil {
			continue
		}
		if len(out) == limit {
			return map[string]any{"channels": out, "has_more": true}, nil
		}
		out = append(out, c)
	}
	return map[string]any{"channels": out, "has_more": false}, nil
}

// listing bounds how long a request waits for a list, which is shared with other requests.
func (r *request) listing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.http.Context(), r.api.opt.ListTimeout)
}

// ListsWaiting returns how many requests wait for a list.
func (a *API) ListsWaiting() int { return a.kept.Waiting() + a.channels.Waiting() + a.users.Waiting() }
