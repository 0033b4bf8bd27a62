package herald

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// News is an event for the subscribers of a channel that is not in its log.
type News struct {
	// Event is the name without its prefix, and Data the JSON text, which must not be changed.
	Event string
	Data  []byte
}

// Audience is the subscribers of a channel.
type Audience interface {
	// Announce sends news to the subscribers that do not know the members at that version yet, or to all if
	// version is 0. It is called for each version, in order, even without news, and must not call the roll.
	Announce(version uint64, news []News)
}

// Roll follows who is in a channel, in the whole cluster. If nobody wants to know that, it only writes the
// channel's subscription count. [Herald.Roll] creates it.
type Roll struct {
	herald   *Herald
	roster   *presence.Roster // nil if there is no table, or nothing is counted
	app      *app.App         // as it was when the roll was created
	channel  string
	audience Audience
	// room is nil while the channel is not followed.
	room atomic.Pointer[presence.Room]

	mu rank.Mutex[rank.Roll]
	// local is the number of subscriptions on this gateway, and coming that of subscriptions that are about to
	// begin.
	local, coming int
	frames, hooks number
	// missed is one more than the offset that a cache channel kept when it was last reported as empty, 0 for
	// never.
	missed atomic.Uint64
}

// Roll returns the roll of a channel, which follows nothing before [Roll.Open]. The roster may be nil.
func (h *Herald) Roll(roster *presence.Roster, a *app.App, channel string, to Audience) *Roll {
	if pusher.KindOf(channel).ServerToUser() {
		roster = nil // nobody may learn who is signed in
	}
	return &Roll{herald: h, roster: roster, app: a, channel: channel, audience: to}
}

// shows reports whether subscribers are sent the subscription count.
func (r *Roll) shows() bool {
	return r.app.Now().SubscriptionCount && !pusher.KindOf(r.channel).Presence()
}

// Open begins to follow the channel, if somebody wants to know who is in it and it is not followed yet. Errors
// are those of [presence.Roster.Open]. It must not be called concurrently.
func (r *Roll) Open(ctx context.Context) error {
	follow := pusher.KindOf(r.channel).Presence() || r.shows()
	for _, name := range []string{webhook.ChannelOccupied, webhook.ChannelVacated, webhook.SubscriptionCount} {
		follow = follow || r.herald.wants(r.app, name)
	}
	if r.roster == nil || !follow || r.Follows() {
		return nil
	}
	room, err := r.roster.Open(ctx, r.app.ID, r.channel, r)
	if err == nil {
		r.room.Store(room)
	}
	return err
}

// Expect records a subscription that is about to begin here (1), before its client is told, or one that does not
// begin after all (-1). Queries of this gateway count it from then on. It does not wait.
func (r *Roll) Expect(change int) {
	if r.roster == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coming += change
	r.roster.SetCounts(r.app.ID, r.channel, r.local, r.coming)
}

// Count records an expected subscription that has begun (1), or one that has ended (-1). It does not wait.
func (r *Roll) Count(change int) {
	if r.roster == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local += change
	r.coming -= min(r.coming, max(change, 0))
	r.roster.SetCounts(r.app.ID, r.channel, r.local, r.coming)
}

// Follows reports whether the channel is followed, so that other gateways must learn when it is empty.
func (r *Roll) Follows() bool { return r.room.Load() != nil }

// Idle reports whether nobody is in the channel on this gateway and the table says so.
func (r *Roll) Idle() bool {
	room := r.room.Load()
	return room == nil || room.Idle()
}

// Join, Leave and Members call the room. The channel must be followed, which is certain only for presence
// channels.
func (r *Roll) Join(ctx context.Context, user string, info json.RawMessage, limit int) error {
	return r.room.Load().Join(ctx, user, info, limit)
}

// Leave removes a connection of a user.
func (r *Roll) Leave(user string) { r.room.Load().Leave(user) }

// Members returns the users in the channel, and the version of that list.
func (r *Roll) Members() ([]presence.Member, uint64) { return r.room.Load().Members() }

// Changed implements [presence.Sink].
func (r *Roll) Changed(version uint64, changes []presence.Change) {
	var news []News
	members := pusher.KindOf(r.channel).Presence()
	for _, c := range changes {
		switch {
		case members && c.Kind == presence.Added:
			news = append(news, News{"member_added", pusher.AppendMemberAdded(nil, pusher.Member{ID: c.User, Info: c.Info})})
		case members && c.Kind == presence.Removed:
			news = append(news, News{"member_removed", pusher.AppendMemberRemoved(nil, c.User)})
		case r.shows() && c.Kind == presence.Counted:
			if r.counted(c) {
				news = append(news, numberOf(c.Count))
			}
		}
	}
	r.audience.Announce(version, news)
}

func numberOf(count int) News {
	return News{"subscription_count", pusher.AppendSubscriptionCount(nil, count)}
}

// counted takes a new subscription count and emits a webhook event if that is due. It reports whether the count
// is due for the subscribers.
func (r *Roll) counted(c presence.Change) bool {
	own, now := c.Node == r.herald.opt.Node && !c.Buried, r.herald.opt.Now()
	r.mu.Lock()
	shown, hooked := r.frames.offer(c.Count, c.Version, now), own && r.hooks.offer(c.Count, c.Version, now)
	if !own {
		r.hooks.learn(c.Count, c.Version, now)
	}
	r.mu.Unlock()
	if hooked {
		r.herald.emit(r.app, eventOf(webhook.SubscriptionCount, r.channel, c))
	}
	return shown
}

// Sweep reports pending subscription counts that are due.
func (r *Roll) Sweep(now time.Time) {
	r.mu.Lock()
	frames, hooks := r.frames.due(now), r.hooks.due(now)
	shown, hooked := r.frames.count, r.hooks
	r.mu.Unlock()
	if frames {
		r.audience.Announce(0, []News{numberOf(shown)})
	}
	if hooks {
		r.hook(hooked)
	}
}

// Close stops following, and emits the pending count.
func (r *Roll) Close() {
	room := r.room.Load()
	if room == nil {
		return
	}
	room.Close()
	r.mu.Lock()
	last := r.hooks
	r.hooks.pending = false
	r.mu.Unlock()
	if last.pending {
		r.hook(last)
	}
}

// hook emits a subscription count.
func (r *Roll) hook(n number) {
	r.herald.emit(r.app, webhook.Event{Name: webhook.SubscriptionCount, Channel: r.channel, Count: n.count, Version: n.version})
}
