package herald

import (
	"context"
	"maps"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Watcher is a connection that watches users. It must be comparable.
type Watcher interface {
	// Watched reports which users came online and which went offline, for one user in order. It must not block,
	// and must not call the watchlists.
	Watched(b *Bulletin)
}

// Bulletin lists the users who came online and those who went offline. All their watchers get the same Bulletin,
// one after the other.
type Bulletin struct {
	Online, Offline []string
	// Made is a cache for the watchers, for what they derive from the Bulletin.
	Made any
}

// Watchlists are the users that connections watch. [NewWatchlists] creates them. Their methods are safe for
// concurrent use.
type Watchlists struct {
	roster *presence.Roster
	failed func(app string, err error)

	mu    rank.Mutex[rank.Watchlists]
	users map[userKey]*User
}

type userKey struct{ app, user string }

// NewWatchlists returns empty watchlists. failed is called with the reason why a user cannot be followed.
func NewWatchlists(roster *presence.Roster, failed func(app string, err error)) *Watchlists {
	return &Watchlists{roster: roster, failed: failed, users: map[userKey]*User{}}
}

// User is a user who is watched.
type User struct {
	lists *Watchlists
	room  *presence.Room
	key   userKey
	// opened is closed when the state of the user is known, or could not be found out.
	opened chan struct{}

	// The following fields are guarded by the lock of the watchlists. refs is the number of uses, and by are the
	// connections that are told of changes.
	refs    int
	by      map[Watcher]struct{}
	online  bool
	version uint64
}

// Open returns a user whose state is known. The caller must call [Watchlists.End] with it. Errors are
// [broker.ErrUnavailable] or that of the context.
func (l *Watchlists) Open(ctx context.Context, app, user string) (*User, error) {
	for {
		u, mine := l.use(userKey{app, user})
		if mine {
			u.open(ctx)
		}
		var err error
		select {
		case <-u.opened:
			if u.room != nil {
				return u, nil
			}
			err = broker.ErrUnavailable
		case <-ctx.Done():
			err = ctx.Err()
		}
		l.End(u, nil)
		// Another caller's time may have run out before ours.
		if mine || ctx.Err() != nil {
			return nil, err
		}
	}
}

// use counts a use of a user, and reports whether the caller must open it.
func (l *Watchlists) use(key userKey) (u *User, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u = l.users[key]; u == nil {
		u, mine = &User{lists: l, key: key, by: map[Watcher]struct{}{}, opened: make(chan struct{})}, true
		l.users[key] = u
	}
	u.refs++
	return u, mine
}

// forget removes a user who could not be opened, so that the next caller tries again.
func (l *Watchlists) forget(u *User) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[u.key] == u {
		delete(l.users, u.key)
	}
}

// open finds out whether the user is online.
func (u *User) open(ctx context.Context) {
	defer close(u.opened)
	room, err := u.lists.roster.Open(ctx, u.key.app, pusher.UserChannel(u.key.user), u)
	if err != nil {
		u.lists.forget(u)
		u.lists.failed(u.key.app, err)
		return
	}
	u.room = room
	n, _, version := room.Counts()
	u.lists.mu.Lock()
	defer u.lists.mu.Unlock()
	if u.version <= version {
		u.online = n > 0
	}
}

// Changed implements [presence.Sink].
func (u *User) Changed(version uint64, changes []presence.Change) {
	for _, c := range changes {
		if c.Kind != presence.Occupied && c.Kind != presence.Vacated {
			continue
		}
		b := &Bulletin{Online: []string{u.key.user}}
		if c.Kind == presence.Vacated {
			b = &Bulletin{Offline: b.Online}
		}
		// The turn of the room keeps the order. A watcher that begins meanwhile gets the new state in Begin.
		for _, w := range u.turn(c.Kind == presence.Occupied, version) {
			w.Watched(b)
		}
	}
	u.lists.mu.Lock()
	defer u.lists.mu.Unlock()
	u.version = version
}

// turn records that the user came online or went offline, and returns the watchers to tell.
func (u *User) turn(online bool, version uint64) []Watcher {
	u.lists.mu.Lock()
	defer u.lists.mu.Unlock()
	u.online, u.version = online, version
	return slices.Collect(maps.Keys(u.by))
}

// Begin tells a connection which of its users are online, and from then on of changes.
func (l *Watchlists) Begin(users []*User, w Watcher) {
	// The lock keeps the first state and the following changes in order.
	l.mu.Lock()
	defer l.mu.Unlock()
	var b Bulletin
	for _, u := range users {
		u.by[w] = struct{}{}
		if u.online {
			b.Online = append(b.Online, u.key.user)
		} else {
			b.Offline = append(b.Offline, u.key.user)
		}
	}
	w.Watched(&b)
}

// End ends one use of a user; w is the connection if it has begun, or nil. The last End stops following the
// user.
func (l *Watchlists) End(u *User, w Watcher) {
	l.mu.Lock()
	delete(u.by, w)
	u.refs--
	last := u.refs == 0
	if last && l.users[u.key] == u {
		delete(l.users, u.key)
	}
	l.mu.Unlock()
	if last {
		<-u.opened
		if u.room != nil {
			u.room.Close()
		}
	}
}
