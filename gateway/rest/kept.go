package rest

import (
	"net/http"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// keptPage is how many channels are named at once.
const keptPage = 1000

// kept serves GET /apps/ID/history: the names of channels that have a history to be read, in
// byte order.
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
	all, err := log.Channels(r.http.Context(), r.app.ID, r.params.Get("filter_by_prefix"))
	if err != nil {
		return nil, err
	}
	after := r.params.Get("after")
	all = slices.DeleteFunc(all, func(c string) bool {
		return c <= after || r.app.Readings.Of(c).Off || pusher.KindOf(c).ServerToUser() || pusher.CheckChannel(c, r.app.Limits.MaxChannelLength) != nil
	})
	more := len(all) > limit
	return map[string]any{"channels": append([]string{}, all[:min(limit, len(all))]...), "has_more": more}, nil
}
