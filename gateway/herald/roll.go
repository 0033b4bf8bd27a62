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

// News is something that the subscribers of a channel are told, beside what is in its log.
type News struct {
	// Event is the name without its prefix, Data the text. Nobody changes it.
	Event string
	Data  []byte
}

// Audience is the subscribers of a channel.
type Audience interface {
	// Announce tells news to everybody who does not know of the members at that
	// version yet, or to everybody if it is 0. It is called for each version, in
	// order, also if there is nothing to tell of it, and must not call the roll.
	Announce(version uint64, news []News)
}

// Roll is what a channel knows of who is in it, in the whole cluster. A channel of which
// nobody wants to know that only writes its number of subscriptions. Make it with
// [Herald.Roll].
type Roll struct {
	herald   *Herald
	roster   *presence.Roster // nil if nobody knows who is where
	app      *app.App         // as it was when the roll was made
	channel  string
	audience Audience
	// room is nil as long as the channel is not followed.
	room atomic.Pointer[presence.Room]

	mu rank.Mutex[rank.Roll]
	// local is the number of subscriptions here, coming of those that are about to begin.
	local, coming int
	frames, hooks number
	// missed is one more than the offset that a cache channel remembered when it
	// was last told to be empty, 0 for never.
	missed atomic.Uint64
}

// Roll returns the roll of a channel, which follows nothing before [Roll.Open]. The roster
// may be nil.
func (h *Herald) Roll(roster *presence.Roster, a *app.App, channel string, to Audience) *Roll {
	if pusher.KindOf(channel).ServerToUser() {
		roster = nil // who is in there is nobody's business
	}
	return &Roll{herald: h, roster: roster, app: a, channel: channel, audience: to}
}

// shows: subscribers are told the number of subscriptions.
func (r *Roll) shows() bool {
	return r.app.Now().SubscriptionCount && !pusher.KindOf(r.channel).Presence()
}

// Open begins to follow who is in the channel, if somebody wants to know and it is not followed
// yet. Errors are those of [presence.Roster.Open]. It is for one goroutine at a time.
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

// Expect notes a subscription that is about to begin here (1), before its client knows that
// it has, or one that does not after all (-1). Whoever asks this gateway is told of it from
// then on. It does not wait.
func (r *Roll) Expect(change int) {
	if r.roster == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coming += change
	r.roster.SetCounts(r.app.ID, r.channel, r.local, r.coming)
}

// Count notes a subscription that began (1), as expected, or ended (-1) here. It does not wait.
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

// Follows says whether the channel is followed, so that others must learn when nobody is
// in it any more.
func (r *Roll) Follows() bool { return r.room.Load() != nil }

// Idle says whether nobody is in the channel here and everybody knows it.
func (r *Roll) Idle() bool {
	room := r.room.Load()
	return room == nil || room.Idle()
}

// Join, Leave and Members are those of the room; only a presence channel has one for certain.
func (r *Roll) Join(ctx context.Context, user string, info json.RawMessage, limit int) error {
	return r.room.Load().Join(ctx, user, info, limit)
}

// Leave takes a connection of a user back.
func (r *Roll) Leave(user string) { r.room.Load().Leave(user) }

// Members are the users in the channel at a version.
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

// counted takes another number of subscriptions and tells the application, if it is to be
// told now. It says whether the subscribers are.
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

// Sweep tells numbers of subscriptions that were kept back and are due.
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

// Close stops following, and tells the number that is still kept back.
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

// hook tells the application a number of subscriptions that was kept back.
func (r *Roll) hook(n number) {
	r.herald.emit(r.app, webhook.Event{Name: webhook.SubscriptionCount, Channel: r.channel, Count: n.count, Version: n.version})
}
