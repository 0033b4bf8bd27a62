package hub

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// roll is what a channel knows of who is in it, in the whole cluster. A channel that
// nobody wants to know that of only writes its number of subscriptions.
type roll struct {
	channel *Channel
	// room is nil if the channel is not followed.
	room *presence.Room
	// shows: subscribers are told the number of subscriptions.
	shows bool

	mu sync.Mutex
	// local is the number of subscriptions here.
	local         int
	frames, hooks countGate
	// missed is one more than the offset that a cache channel remembered when it
	// was last told to be empty, 0 for never.
	missed atomic.Uint64
}

const (
	// smallCount is up to which every change of the number of subscriptions is
	// told, and countPause the time between two tellings above (protocol section
	// 1.11).
	smallCount = 100
	countPause = 5 * time.Second
)

// countGate decides when a number of subscriptions is told.
type countGate struct {
	told    time.Time
	pending bool
	count   int
	version uint64
}

// offer takes a new number and says whether to tell it now.
func (g *countGate) offer(n int, version uint64, now time.Time) bool {
	g.count, g.version = n, version
	if n > smallCount && now.Sub(g.told) < countPause {
		g.pending = true
		return false
	}
	g.told, g.pending = now, false
	return true
}

// overtaking is how long what a gateway told may have come behind what another told later.
const overtaking = 2 * countPause

// learn takes a new number that another gateway tells. If one is kept back here, or was told
// a moment ago, it may be taken for the last word, so the new one is told here as well, in its
// time.
func (g *countGate) learn(n int, version uint64, now time.Time) {
	g.count, g.version = n, version
	g.pending = g.pending || !g.told.IsZero() && now.Sub(g.told) < overtaking
}

// due says whether a number that was kept back is to be told now.
func (g *countGate) due(now time.Time) bool {
	if !g.pending || now.Sub(g.told) < countPause {
		return false
	}
	g.told, g.pending = now, false
	return true
}

// enroll begins to follow the members of a channel, if somebody wants to know.
func (c *Channel) enroll(ctx context.Context) error {
	h, kind := c.hub, pusher.KindOf(c.name)
	c.roll.channel = c
	c.roll.shows = c.app.SubscriptionCount && !kind.Presence()
	follow := kind.Presence() || c.roll.shows
	for _, name := range []string{webhook.ChannelOccupied, webhook.ChannelVacated, webhook.SubscriptionCount} {
		follow = follow || h.wants(c.app, name)
	}
	if h.opt.Roster == nil || kind.ServerToUser() || !follow {
		return nil
	}
	var err error
	c.roll.room, err = h.opt.Roster.Open(ctx, c.app.ID, c.name, &c.roll)
	return err
}

// counted notes a subscription that began (1) or ended (-1) here.
func (c *Channel) counted(change int) {
	if c.hub.opt.Roster == nil || pusher.KindOf(c.name).ServerToUser() {
		return
	}
	c.roll.mu.Lock()
	defer c.roll.mu.Unlock()
	c.roll.local += change
	c.hub.opt.Roster.SetCount(c.app.ID, c.name, c.roll.local)
}

// Changed implements [presence.Sink].
func (r *roll) Changed(version uint64, changes []presence.Change) {
	n := &notice{version: version}
	shows := pusher.KindOf(r.channel.name).Presence()
	for _, c := range changes {
		switch {
		case shows && c.Kind == presence.Added:
			n.add("member_added", pusher.AppendMemberAdded(nil, pusher.Member{ID: c.User, Info: c.Info}))
		case shows && c.Kind == presence.Removed:
			n.add("member_removed", pusher.AppendMemberRemoved(nil, c.User))
		case r.shows && c.Kind == presence.Counted:
			own := c.Node == r.channel.hub.opt.Node && !c.Buried
			r.mu.Lock()
			now := r.channel.hub.opt.Now()
			shown, hooked := r.frames.offer(c.Count, c.Version, now), own && r.hooks.offer(c.Count, c.Version, now)
			if !own {
				r.hooks.learn(c.Count, c.Version, now)
			}
			r.mu.Unlock()
			if shown {
				n.add("subscription_count", pusher.AppendSubscriptionCount(nil, c.Count))
			}
			if hooked {
				r.channel.hook(c.Count, c.Version, c.Cause)
			}
		}
	}
	r.channel.announce(n)
}

// sweep tells numbers of subscriptions that were kept back.
func (r *roll) sweep(now time.Time) {
	r.mu.Lock()
	frames, hooks := r.frames.due(now), r.hooks.due(now)
	shown, hooked := r.frames.count, r.hooks
	r.mu.Unlock()
	if frames {
		n := &notice{}
		n.add("subscription_count", pusher.AppendSubscriptionCount(nil, shown))
		r.channel.announce(n)
	}
	if hooks {
		r.channel.hook(hooked.count, hooked.version, 0)
	}
}

// end stops following, and tells the number that is still kept back.
func (r *roll) end() {
	if r.room == nil {
		return
	}
	r.room.Close()
	r.mu.Lock()
	last := r.hooks
	r.hooks.pending = false
	r.mu.Unlock()
	if last.pending {
		r.channel.hook(last.count, last.version, 0)
	}
}

// hook tells the application the number of subscriptions.
func (c *Channel) hook(n int, version, cause uint64) {
	e := webhook.Event{Name: webhook.SubscriptionCount, Channel: c.name, Count: n, Version: version}
	if cause > 0 {
		e.ID = e.Name + "/" + c.name + "/" + c.hub.opt.Node + "//" + strconv.FormatUint(cause, 10)
	}
	c.hub.hook(c.app, e)
}
