package rest

import (
	"context"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// tally answers the info of a publish. The events are stored by then, so an error of the census only omits
// numbers: the publisher would take an error for a failed publish, and publish again.
type tally struct {
	request *request
	census  Census
	known   map[string]Count
}

func (r *request) newTally() *tally {
	return &tally{r, r.api.opt.Census, map[string]Count{}}
}

// of returns, for every channel of an event, the requested attributes that are known.
func (t *tally) of(ev *accepted) map[string]map[string]any {
	ctx, cancel := context.WithTimeout(t.request.http.Context(), t.request.api.opt.PublishTimeout)
	defer cancel()
	out := make(map[string]map[string]any, len(ev.channels))
	for i, c := range ev.channels {
		out[c] = map[string]any{}
		if ev.info.apply(c) {
			if n, ok := t.count(ctx, c); ok {
				out[c] = ev.info.of(c, n)
			}
		}
		if ev.info.position && i < len(ev.receipts) && !ev.ephemeral {
			r := ev.receipts[i]
			out[c]["serial"], out[c]["stream_id"], out[c]["duplicate"] = r.Offset, r.Epoch, r.Duplicate
		}
	}
	return out
}

// apply reports whether a channel has any of the attributes that need a count.
func (a attributes) apply(channel string) bool {
	return a.subscriptions || a.users && pusher.KindOf(channel).Presence()
}

// count queries the census about each channel once. After an error it makes no more queries, so that a publish
// to many channels waits for an outage only once.
func (t *tally) count(ctx context.Context, channel string) (Count, bool) {
	if n, ok := t.known[channel]; ok || t.census == nil {
		return n, ok
	}
	r := t.request
	n, err := count(ctx, t.census, r.app.ID, channel)
	if err != nil {
		t.census = nil
		r.api.said.Warn(r.api.opt.Logger, "tally/"+r.app.ID, "a publish was stored and is answered without the numbers it asked for",
			"app", r.app.ID, "channel", channel, "error", err)
		return Count{}, false
	}
	t.known[channel] = n
	return n, true
}
