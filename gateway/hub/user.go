package hub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

type userKey struct{ app, user string }

// identity is the user that a connection is signed in as.
type identity struct {
	user string
	// info is the user_info of the sign-in, infoErr why it cannot be shown to others.
	info    json.RawMessage
	infoErr error
	// watches are the users on the watchlist of the connection.
	watches []*herald.User
}

// signIn signs a connection in as a user (protocol section 1.13).
func (c *Client) signIn(data string) {
	if !c.app().UserAuth {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "user authentication is not enabled for this app")
		return
	}
	s, err := pusher.ParseSignin(data)
	if err != nil {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: %v", err)
		return
	}
	err = c.app().Verify(c.hub.opt.Now(), func(key, secret string) error {
		return pusher.VerifyUser(key, secret, s.Auth, c.id, s.UserData)
	})
	if err != nil {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: %v", err)
		return
	}
	first := c.signed == nil
	if !first && c.signed.user != s.UserID {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: this connection is signed in as another user")
		return
	}
	if first {
		c.signed = &identity{user: s.UserID}
	}
	c.signed.info, c.signed.infoErr = pusher.UserInfo(s.UserData, c.app().Limits.MaxMemberInfo)
	c.authorized.Store(true)
	answer := append([]byte(nil), `{"user_data":`...)
	answer = append(pusher.AppendString(answer, s.UserData), '}')
	if first {
		// An application that learns of the sign-in may terminate the user at once, so it is registered
		// first.
		c.hub.signedIn(c)
	}
	success := func() { c.control(pusher.Control{Event: "signin_success", Text: string(answer)}) }
	if !c.hearUser(success) {
		success()
	}
	c.watch(s.UserData)
}

// hearUser subscribes a connection to the channel of its user, without a request, and calls greet before the
// first event. It returns false without calling greet if the connection is subscribed already, if that is not
// possible now (signing in again retries), and for connections that use recovery: these subscribe by
// themselves, because missed events must come first.
func (c *Client) hearUser(greet func()) bool {
	name := pusher.UserChannel(c.signed.user)
	if c.recovers() || c.membership(name) != nil || len(c.joined) >= c.hub.limit.Load().MaxSubscriptions {
		return false
	}
	ch, err := c.hub.acquire(c.app(), name, &c.asks)
	if err != nil {
		c.notAttached(name, err)
		return false
	}
	m := membership{channel: ch}
	e := fanout.Entry{Sock: c.sock, Form: c.form(&m), Bound: c.delta.recent, Greet: func(at fanout.Start) {
		m.began = at.Offset
		greet()
	}}
	ch.put(c, &e, true)
	c.joined = append(c.joined, m)
	return true
}

// signedIn registers a connection as one of its user.
func (h *Hub) signedIn(c *Client) {
	key := userKey{c.tenant.ID, c.signed.user}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[key] == nil {
		h.users[key] = map[*Client]time.Time{}
	}
	h.users[key][c] = h.opt.LogTime()
	h.countUser(c.app(), key)
}

// countUser writes the number of connections of this gateway that are signed in as a user. The caller holds
// the lock of the hub.
func (h *Hub) countUser(a *app.App, key userKey) {
	// A user without connections gives up the seat, whatever the app's settings are by now.
	if h.opt.Roster != nil && (a.Watchlist || len(h.users[key]) == 0) {
		h.opt.Roster.SetCount(key.app, pusher.UserChannel(key.user), len(h.users[key]))
	}
}

// signOut reverses what a connection did as a user.
func (c *Client) signOut() {
	if c.signed == nil {
		return
	}
	key := userKey{c.tenant.ID, c.signed.user}
	h := c.hub
	h.mu.Lock()
	delete(h.users[key], c)
	h.countUser(c.app(), key)
	if len(h.users[key]) == 0 {
		delete(h.users, key)
	}
	h.mu.Unlock()
	for _, u := range c.signed.watches {
		h.watchlists.End(u, c)
	}
}

// Watched implements [herald.Watcher].
func (c *Client) Watched(b *herald.Bulletin) {
	made, _ := b.Made.(*[pusher.Dialects]*socket.Frame)
	if made == nil {
		made = new([pusher.Dialects]*socket.Frame)
		b.Made = made
	}
	if made[c.dialect] == nil {
		made[c.dialect] = c.frameOf(pusher.Control{Event: "watchlist_events", Internal: true, Text: string(pusher.AppendWatchlist(nil, b.Online, b.Offline))})
	}
	c.send(made[c.dialect])
}

// watch begins to notify a connection of the users on its watchlist, which replaces the one of its last
// sign-in.
func (c *Client) watch(userData string) {
	if !c.app().Watchlist || c.hub.opt.Roster == nil {
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
	if len(users)+len(c.signed.watches) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
	defer cancel()
	var all []*herald.User
	for _, user := range users {
		u, err := c.hub.watchlists.Open(ctx, c.tenant.ID, user)
		if err != nil {
			c.again.Soon(c.hub.opt.Now(), "")
			c.fail(pusher.NoCode, "watchlist: the state of %.100q cannot be had; try again", user)
			break
		}
		all = append(all, u)
	}
	// Users on both lists were opened again, so they stay open.
	for _, u := range c.signed.watches {
		c.hub.watchlists.End(u, c)
	}
	if c.signed.watches = all; len(all) > 0 {
		c.hub.watchlists.Begin(all, c)
	}
}
