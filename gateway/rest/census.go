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

// Count is the number of subscriptions and of distinct users of a channel on all gateways.
type Count struct{ Subscriptions, Users int }

// Census answers who is in channels. Its errors wrap [broker.ErrUnavailable] or are those of the context.
type Census interface {
	Channel(ctx context.Context, app, channel string) (Count, error)
	// Channels returns the channels that have subscriptions and a name with the prefix. room is called with the
	// bytes that are needed, before they are; an error of it ends the call. The caller owns the results of
	// Channels and Users.
	Channels(ctx context.Context, app, prefix string, room func(bytes int) error) (map[string]Count, error)
	Users(ctx context.Context, app, channel string) ([]string, error)
}

// attributes are the attributes that the parameter info names.
type attributes struct{ users, subscriptions, cache, position bool }

// asks are the optional attributes that a request allows in info: the event of a cache channel, and the
// positions of published events.
type asks struct{ cache, position bool }

// parseInfo parses the parameter info.
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

// of returns the requested attributes of a channel.
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

// count queries the census about one channel. The channel of a user always counts as empty, because nobody may
// learn who is signed in (protocol section 2.5).
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

// cached returns the event that a cache channel keeps, nil if it keeps none (protocol section 1.10).
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
	// The clock of the log is known to within a round trip. Fractions of a second are rounded up, so that a kept
	// event never has a ttl of 0.
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
