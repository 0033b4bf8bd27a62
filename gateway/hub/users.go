package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
)

type userKey struct{ app, user string }

// signedIn notes that a connection is that of a user.
func (h *Hub) signedIn(c *Client) {
	key := userKey{c.app.ID, c.user}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[key] == nil {
		h.users[key] = map[*Client]time.Time{}
	}
	h.users[key][c] = h.opt.LogTime()
	h.countUser(c.app, key)
}

// countUser writes on how many connections of this gateway a user is signed in. The
// caller holds the lock.
func (h *Hub) countUser(a *app.App, key userKey) {
	if a.Watchlist && h.opt.Roster != nil {
		h.opt.Roster.SetCount(key.app, pusher.UserChannel(key.user), len(h.users[key]))
	}
}

// signOut undoes what a connection did as a user.
func (c *Client) signOut() {
	if c.user == "" {
		return
	}
	key := userKey{c.app.ID, c.user}
	h := c.hub
	h.mu.Lock()
	delete(h.users[key], c)
	h.countUser(c.app, key)
	if len(h.users[key]) == 0 {
		delete(h.users, key)
	}
	h.mu.Unlock()
	for _, w := range c.watches {
		h.unwatch(w.key, w, c)
	}
}

// elsewhere is the number of connections of an app on other gateways, as far as it
// matters. The caller holds the lock.
func (h *Hub) elsewhere(a *app.App) int {
	if room := h.totals[a]; room != nil {
		return room.Others()
	}
	return 0
}

// countConnections writes how many connections of an app there are here, if anybody
// wants to know. The caller holds the lock.
func (h *Hub) countConnections(a *app.App) {
	if h.opt.Roster != nil && a.Limits.MaxConnections > 0 {
		h.opt.Roster.SetCount(a.ID, "", h.perApp[a])
	}
}

// watched is a user whose coming and going some connections are told of.
type watched struct {
	hub  *Hub
	room *presence.Room
	key  userKey
	// opened is closed when it is known whether the user is online.
	opened chan struct{}

	// What follows belongs to the hub's watchMu. refs are the connections that use
	// it, by those of them that are told.
	refs    int
	by      map[*Client]struct{}
	online  bool
	version uint64
}

// Changed implements [presence.Sink].
func (w *watched) Changed(version uint64, changes []presence.Change) {
	w.hub.watchMu.Lock()
	defer w.hub.watchMu.Unlock()
	w.version = version
	for _, c := range changes {
		if c.Kind != presence.Occupied && c.Kind != presence.Vacated {
			continue
		}
		w.online = c.Kind == presence.Occupied
		for client := range w.by {
			client.tellOnline([]string{w.key.user}, w.online)
		}
	}
}

func (c *Client) tellOnline(users []string, online bool) {
	var on, off []string
	if on = users; !online {
		on, off = nil, users
	}
	c.control(pusher.Control{Event: "watchlist_events", Internal: true, Text: string(pusher.AppendWatchlist(nil, on, off))})
}

// watch begins to tell a connection of the users on its watchlist.
func (c *Client) watch(userData string) {
	if !c.app.Watchlist || c.hub.opt.Roster == nil {
		return
	}
	users, more, bad := pusher.Watchlist(userData)
	if bad != nil {
		c.deny(refusedWatchlist, "", pusher.NoCode, "watchlist: what is no id of a user is not watched: %v", bad)
	}
	if more {
		c.limited("watchlist")
		c.deny(refusedWatchlist, "", pusher.ErrorWatchlistLimit, "the watchlist has more than %d users; the first %d are watched", len(users), len(users))
	}
	if len(users) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
	defer cancel()
	var all []*watched
	for _, user := range users {
		w, err := c.hub.openWatched(ctx, userKey{c.app.ID, user})
		if err != nil {
			c.fail(pusher.NoCode, "watchlist: the state of %.100q cannot be had; try again", user)
			break
		}
		all = append(all, w)
	}
	// The first state and the changes that follow must come in order.
	c.hub.watchMu.Lock()
	defer c.hub.watchMu.Unlock()
	var on, off []string
	for _, w := range all {
		w.by[c] = struct{}{}
		c.watches = append(c.watches, w)
		if w.online {
			on = append(on, w.key.user)
		} else {
			off = append(off, w.key.user)
		}
	}
	c.control(pusher.Control{Event: "watchlist_events", Internal: true, Text: string(pusher.AppendWatchlist(nil, on, off))})
}

// openWatched returns a watched user of whom it is known whether he is online, and
// counts the caller as one that uses it.
func (h *Hub) openWatched(ctx context.Context, key userKey) (*watched, error) {
	h.watchMu.Lock()
	w := h.watched[key]
	mine := w == nil
	if mine {
		w = &watched{hub: h, key: key, by: map[*Client]struct{}{}, opened: make(chan struct{})}
		h.watched[key] = w
	}
	w.refs++
	h.watchMu.Unlock()
	if mine {
		w.open(ctx)
	}
	var err error
	select {
	case <-w.opened:
		if w.room == nil {
			err = broker.ErrUnavailable
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		h.unwatch(key, w, nil)
		return nil, err
	}
	return w, nil
}

// open looks up whether the user is online.
func (w *watched) open(ctx context.Context) {
	defer close(w.opened)
	room, err := w.hub.opt.Roster.Open(ctx, w.key.app, pusher.UserChannel(w.key.user), w)
	if err != nil {
		w.hub.failures.Warn(w.hub.opt.Logger, "watching", "watching a user failed", "app", w.key.app, "error", err)
		return
	}
	w.room = room
	n, _, version := room.Counts()
	w.hub.watchMu.Lock()
	defer w.hub.watchMu.Unlock()
	if w.version <= version {
		w.online = n > 0
	}
}

// unwatch gives up one use of a watched user, and ends it with the last one.
func (h *Hub) unwatch(key userKey, w *watched, c *Client) {
	h.watchMu.Lock()
	delete(w.by, c)
	w.refs--
	last := w.refs == 0
	if last && h.watched[key] == w {
		delete(h.watched, key)
	}
	h.watchMu.Unlock()
	if last {
		<-w.opened
		if w.room != nil {
			w.room.Close()
		}
	}
}
