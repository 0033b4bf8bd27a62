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

// Watcher is a connection that is told of users. It is compared with ==.
type Watcher interface {
	// Watched tells which users came online and which went. What concerns one user is told
	// in order. It must not block, and must not call the watchlists.
	Watched(b *Bulletin)
}

// Bulletin says which users came online and which went. Everybody who watches them is told by the same one,
// one after the other.
type Bulletin struct {
	Online, Offline []string
	// Made is for what those who are told make of it, so that it is made once.
	Made any
}

// Watchlists are the users that some connections want to know of. Make them with
// [NewWatchlists].
type Watchlists struct {
	roster *presence.Roster
	failed func(app string, err error)

	mu    rank.Mutex[rank.Watchlists]
	users map[userKey]*User
}

type userKey struct{ app, user string }

// NewWatchlists returns watchlists that nobody has. failed is told why a user cannot be
// followed.
func NewWatchlists(roster *presence.Roster, failed func(app string, err error)) *Watchlists {
	return &Watchlists{roster: roster, failed: failed, users: map[userKey]*User{}}
}

// User is a user whose coming and going some connections are told of.
type User struct {
	lists *Watchlists
	room  *presence.Room
	key   userKey
	// opened is closed when it is known whether the user is online.
	opened chan struct{}

	// What follows belongs to the lock of the watchlists. refs are the connections that
	// use it, by those of them that are told.
	refs    int
	by      map[Watcher]struct{}
	online  bool
	version uint64
}

// Open returns a user of whom it is known whether he is online. The caller must give it up
// with [Watchlists.End]. Errors: [broker.ErrUnavailable], or the context's.
func (l *Watchlists) Open(ctx context.Context, app, user string) (*User, error) {
	key := userKey{app, user}
	l.mu.Lock()
	u := l.users[key]
	mine := u == nil
	if mine {
		u = &User{lists: l, key: key, by: map[Watcher]struct{}{}, opened: make(chan struct{})}
		l.users[key] = u
	}
	u.refs++
	l.mu.Unlock()
	if mine {
		u.open(ctx)
	}
	var err error
	select {
	case <-u.opened:
		if u.room == nil {
			err = broker.ErrUnavailable
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		l.End(u, nil)
		return nil, err
	}
	return u, nil
}

// open looks up whether the user is online.
func (u *User) open(ctx context.Context) {
	defer close(u.opened)
	room, err := u.lists.roster.Open(ctx, u.key.app, pusher.UserChannel(u.key.user), u)
	if err != nil {
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
		// The turn of the room keeps the order. Whoever begins meanwhile is told what is true from now on.
		for _, w := range u.turn(c.Kind == presence.Occupied, version) {
			w.Watched(b)
		}
	}
	u.lists.mu.Lock()
	defer u.lists.mu.Unlock()
	u.version = version
}

// turn notes that the user came online or went, and returns who is to be told.
func (u *User) turn(online bool, version uint64) []Watcher {
	u.lists.mu.Lock()
	defer u.lists.mu.Unlock()
	u.online, u.version = online, version
	return slices.Collect(maps.Keys(u.by))
}

// Begin tells a connection which of its users are online, and from then on what changes.
func (l *Watchlists) Begin(users []*User, w Watcher) {
	// The first state and the changes that follow must come in order.
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

// End gives up one use of a user, by a connection if it has begun, and ends it with the
// last one.
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
