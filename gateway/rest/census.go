package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
)

// Count are the numbers of one channel over all gateways: its sockets and its distinct
// users.
type Count struct{ Subscriptions, Users int }

// Census knows who is where. Its errors wrap [broker.ErrUnavailable] or are the
// context's.
type Census interface {
	Channel(ctx context.Context, app, channel string) (Count, error)
	// Channels has those with subscriptions and a name with the prefix. room is told of the
	// bytes that are held for that, before they are, and has it end with its error. What is
	// returned, here and by Users, is the caller's.
	Channels(ctx context.Context, app, prefix string, room func(bytes int) error) (map[string]Count, error)
	Users(ctx context.Context, app, channel string) ([]string, error)
}

// attributes are those that info can ask for.
type attributes struct{ users, subscriptions, cache, position bool }

// asks says what info can ask for beside the numbers: what a cache channel remembers, or
// the places of what was published.
type asks struct{ cache, position bool }

// parseInfo reads the parameter info.
func parseInfo(info string, can asks) (attributes, error) {
	var out attributes
	for attribute := range strings.SplitSeq(info, ",") {
		switch attribute = strings.TrimSpace(attribute); {
		case attribute == "":
		case attribute == "user_count":
			out.users = true
		case attribute == "subscription_count":
			out.subscriptions = true
		case attribute == "cache" && can.cache:
			out.cache = true
		case attribute == "position" && can.position:
			out.position = true
		default:
			return out, invalid("info: %.64q is not an attribute of this request", attribute)
		}
	}
	return out, nil
}

func (a attributes) any() bool { return a.users || a.subscriptions || a.cache || a.position }

// of are the attributes of a channel that were asked for.
func (a attributes) of(channel string, n Count) map[string]any {
	out := map[string]any{}
	if a.users && pusher.KindOf(channel).Presence() {
		out["user_count"] = n.Users
	}
	if a.subscriptions {
		out["subscription_count"] = n.Subscriptions
	}
	return out
}

func (r *request) census() (Census, error) {
	if r.api.opt.Census == nil {
		return nil, fail(http.StatusServiceUnavailable, "service_unavailable", "this server does not know who is in a channel")
	}
	return r.api.opt.Census, nil
}

// count asks a census about one channel. Who has signed in is nobody's business: that of a user
// never appears (protocol section 2.5), so it counts as empty for whoever knows its name.
func count(ctx context.Context, census Census, app, channel string) (Count, error) {
	if pusher.KindOf(channel).ServerToUser() {
		return Count{}, nil
	}
	return census.Channel(ctx, app, channel)
}

// channels serves GET /apps/ID/channels.
func (r *request) channels() (any, error) {
	prefix := r.params.Get("filter_by_prefix")
	asked, err := parseInfo(r.params.Get("info"), asks{})
	if err != nil {
		return nil, err
	}
	if asked.users && !strings.HasPrefix(prefix, "presence-") {
		return nil, invalid("info: user_count needs a filter_by_prefix that begins with presence-")
	}
	census, err := r.census()
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.listing()
	defer cancel()
	all, err := r.api.channels.Do(ctx, r.app.ID, func(ctx context.Context) (*roll, error) { return r.rollOfChannels(ctx, census) })
	if err != nil {
		return nil, err
	}
	return all.answer(r, question{prefix, asked})
}

// one serves GET /apps/ID/channels/NAME.
func (r *request) one() (any, error) {
	if err := r.checkChannel(); err != nil {
		return nil, err
	}
	kind := pusher.KindOf(r.channel)
	asked, err := parseInfo(r.params.Get("info"), asks{cache: true})
	switch {
	case err != nil:
		return nil, err
	case asked.users && !kind.Presence():
		return nil, invalid("info: user_count is for presence channels")
	case asked.cache && !kind.Cache():
		return nil, invalid("info: cache is for cache channels")
	}
	census, err := r.census()
	if err != nil {
		return nil, err
	}
	n, err := count(r.http.Context(), census, r.app.ID, r.channel)
	if err != nil {
		return nil, err
	}
	out := asked.of(r.channel, n)
	out["occupied"] = n.Subscriptions > 0 || n.Users > 0
	if asked.cache {
		if out["cache"], err = r.cached(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cached is what a cache channel remembers, nil if nothing (protocol section 1.10).
func (r *request) cached() (any, error) {
	log := sight.Log{History: r.api.opt.Log, Now: r.api.opt.LogTime}
	p, err := log.Remembered(r.http.Context(), r.app.ID, r.channel, 0)
	if err != nil || p == nil {
		return nil, err
	}
	left := r.api.opt.CacheTTL - r.api.opt.LogTime().Sub(p.Time)
	if left <= 0 {
		return nil, nil
	}
	// The time of the log is known to within a round trip. A second that has
	// begun counts, so that what is remembered never has 0 left.
	left = min(left, r.api.opt.CacheTTL)
	return map[string]any{"data": string(p.Data), "ttl": int((left + time.Second - 1) / time.Second)}, nil
}

// users serves GET /apps/ID/channels/NAME/users.
func (r *request) users() (any, error) {
	if err := r.checkChannel(); err != nil {
		return nil, err
	}
	if !pusher.KindOf(r.channel).Presence() {
		return nil, invalid("users are those of presence channels, and %.64q is none", r.channel)
	}
	census, err := r.census()
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.listing()
	defer cancel()
	all, err := r.api.users.Do(ctx, place{r.app.ID, r.channel}, func(ctx context.Context) (*roll, error) {
		users, err := census.Users(ctx, r.app.ID, r.channel)
		slices.Sort(users)
		return newRoll(users, nil), err
	})
	if err != nil {
		return nil, err
	}
	return all.answer(r, question{})
}

func (r *request) checkChannel() error {
	if err := pusher.CheckChannel(r.channel, r.app.Limits.MaxChannelLength); err != nil {
		return invalid("channel: %v", err)
	}
	return nil
}

// terminate serves POST /apps/ID/users/USER/terminate_connections.
func (r *request) terminate() (any, error) {
	if err := pusher.CheckUserID(r.channel); err != nil {
		return nil, invalid("%v", err)
	}
	if r.api.opt.Terminate == nil {
		return nil, fail(http.StatusUnprocessableEntity, "feature_disabled", "connections cannot be terminated here")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.http.Context()), r.api.opt.PublishTimeout)
	defer cancel()
	if err := r.api.opt.Terminate(ctx, r.app, r.channel); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}
