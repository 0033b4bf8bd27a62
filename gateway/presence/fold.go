package presence

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Kind says what a [Change] is.
type Kind uint8

const (
	// Added and Removed are a user's first and last connection.
	Added Kind = iota + 1
	Removed
	// Counted is another number of subscriptions. Occupied and Vacated are the
	// first and the last one, or of a channel with members the first and the last
	// member: Occupied before it is Counted or Added, Vacated after it was Counted or
	// Removed.
	Counted
	Occupied
	Vacated
)

// Change is one step in the life of a channel.
type Change struct {
	Kind Kind
	User string
	// Info of an added user is a JSON value.
	Info json.RawMessage
	// Count of subscriptions, after the change.
	Count int
	// Node is the gateway whose seat it was; Cause, a revision, names the change
	// together with the seat, and, if it is Counted, with Seat: the subscriptions that
	// the seat has after it. One that is given up has the cause with which it was held.
	Node  string
	Cause uint64
	Seat  int
	// Buried is true if the node did not say it itself.
	Buried bool
	// Version is the newest revision that a count knows of: of two counts of a channel
	// that of the higher one is right.
	Version uint64
}

// holder is who has a seat in a channel: a user by way of a gateway, or with an empty user
// the subscriptions of the gateway.
type holder struct{ node, user string }

// latest is the newest that is known of a seat. It is in if it counts.
type latest struct {
	content
	revision uint64
	in       bool
}

// Member is a user in a channel.
type Member struct {
	User string
	Info json.RawMessage
	// since orders members by when they came.
	since uint64
	seats int
}

// Fold is who is in one channel, made of the records of its seats in any order. It is
// a plain value without a clock or a lock.
type Fold struct {
	seats    map[holder]latest
	members  map[string]*Member
	view     *register
	count    int
	occupied bool
	// newest is the highest revision that was taken in.
	newest uint64
	// byMembers: members occupy the channel, and its subscriptions do not count for
	// that. Both are seats of their own, which are written in any order.
	byMembers bool
}

// NewFold returns the fold of an empty channel. Members occupy it if it has any
// (byMembers), otherwise subscriptions.
func NewFold(byMembers bool) *Fold {
	return &Fold{byMembers: byMembers, seats: map[holder]latest{}, members: map[string]*Member{}}
}

// Users and Count are the number of distinct users and of subscriptions.
func (f *Fold) Users() int { return len(f.members) }

// Count is the number of subscriptions.
func (f *Fold) Count() int { return f.count }

// Has says whether a user is in, and with which info.
func (f *Fold) Has(user string) (json.RawMessage, bool) {
	m := f.members[user]
	if m == nil {
		return nil, false
	}
	return m.Info, true
}

// Members are the users in the order in which they came.
func (f *Fold) Members() []Member {
	out := make([]Member, 0, len(f.members))
	for _, m := range f.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.User, b.User)) })
	return out
}

// apply takes in what a seat was at a revision. What is older than what is known changes
// nothing, nor does a seat of a gateway that does not count. A seat that counts and is told
// of late, when the floor of its gateway lies above it, goes on counting: its gateway has
// written it again, or given it up, and that is still to come.
func (f *Fold) apply(at holder, revision uint64, n content) []Change {
	counts := f.view.counts(at.node, revision) || f.seats[at].in && f.view.alive(at.node)
	return f.take(at, latest{n, revision, !n.Gone && counts})
}

// take is apply when it is known whether a seat counts.
func (f *Fold) take(at holder, h latest) []Change {
	old := f.seats[at]
	if h.revision <= old.revision {
		return nil
	}
	f.seats[at] = h
	f.newest = max(f.newest, h.revision)
	return f.step(at, old, h, cause(h.revision, h.content), !h.Gone && !h.in)
}

// step makes what was of a seat what is.
func (f *Fold) step(at holder, was, is latest, cause uint64, buried bool) []Change {
	changes := f.move(at, was, is, cause, buried)
	if is.in && is.First > 0 {
		cause = is.First
	}
	return f.occupy(changes, cause)
}

func (f *Fold) move(at holder, was, is latest, cause uint64, buried bool) []Change {
	switch {
	case at.user == "":
		before, after := 0, 0
		if was.in {
			before = was.Count
		}
		if is.in {
			after = is.Count
		}
		return f.recount(at.node, before, after, cause, buried)
	case is.in && !was.in:
		return f.sit(at, cause, is.content)
	case was.in && !is.in:
		return f.rise(at, cause, buried)
	}
	return nil
}

// cause is the revision that names a change: for a seat that is given up the one with
// which it was held, because that is what others know when its node has died, and for one
// that was written again the one with which it was written first.
func cause(revision uint64, n content) uint64 {
	if n.Since > 0 {
		return n.Since
	}
	return revision
}

// beginning is the revision that names that a seat occupies a channel: a number of subscriptions is written again
// and again, and not everybody has seen the first one.
func beginning(revision uint64, n content) uint64 {
	if n.First > 0 {
		return n.First
	}
	return cause(revision, n)
}

func (f *Fold) sit(at holder, cause uint64, n content) []Change {
	m := f.members[at.user]
	if m != nil {
		m.seats++
		if cause < m.since {
			// Seats of two gateways may be told of in any order. What the first one says is in force.
			m.Info, m.since = n.Info, cause
		}
		return nil
	}
	f.members[at.user] = &Member{User: at.user, Info: n.Info, since: cause, seats: 1}
	return []Change{{Kind: Added, User: at.user, Info: n.Info, Node: at.node, Cause: cause}}
}

func (f *Fold) rise(at holder, cause uint64, buried bool) []Change {
	m := f.members[at.user]
	if m == nil {
		return nil
	}
	if m.seats--; m.seats > 0 {
		return nil
	}
	delete(f.members, at.user)
	return []Change{{Kind: Removed, User: at.user, Node: at.node, Cause: cause, Buried: buried}}
}

func (f *Fold) recount(node string, before, after int, cause uint64, buried bool) []Change {
	if before == after {
		return nil
	}
	f.count += after - before
	return []Change{{Kind: Counted, Count: f.count, Node: node, Cause: cause, Seat: after, Buried: buried, Version: f.newest}}
}

// occupy adds to what a seat has changed whether somebody is in the channel at all, which cause names.
func (f *Fold) occupy(changes []Change, cause uint64) []Change {
	now := f.count > 0
	if f.byMembers {
		now = len(f.members) > 0
	}
	if len(changes) == 0 || now == f.occupied {
		return changes
	}
	f.occupied = now
	c := changes[0]
	c = Change{Kind: Vacated, Count: f.count, Node: c.Node, Cause: cause, Buried: c.Buried, Version: f.newest}
	if now {
		c.Kind = Occupied
		return append([]Change{c}, changes...)
	}
	return append(changes, c)
}

// know takes in which gateways count from now on. moved are those for which that has
// changed; seats of others are judged when they are written or looked up again.
func (f *Fold) know(view *register, moved map[string]bool) []Change {
	f.view = view
	if len(moved) == 0 {
		return nil
	}
	var holders []holder
	for at, h := range f.seats {
		if moved[at.node] && !h.Gone && h.in != view.counts(at.node, h.revision) {
			holders = append(holders, at)
		}
	}
	slices.SortFunc(holders, func(a, b holder) int { return cmp.Compare(f.seats[a].revision, f.seats[b].revision) })
	if len(holders) > 0 {
		f.newest = max(f.newest, view.revision)
	}
	var out []Change
	for _, at := range holders {
		was := f.seats[at]
		is := was
		is.in = !was.in
		f.seats[at] = is
		out = append(out, f.step(at, was, is, cause(was.revision, was.content), was.in)...)
	}
	return out
}

// replace says what a seat is, whatever is known of it. Nobody is told.
func (f *Fold) replace(at holder, n content, in bool) {
	was := f.seats[at]
	is := latest{n, was.revision, in}
	f.seats[at] = is
	f.step(at, was, is, was.revision, false)
}

// remove forgets a seat of which nothing is left. It is buried unless its gateway tells of it.
func (f *Fold) remove(at holder, buried bool) []Change {
	h := f.seats[at]
	delete(f.seats, at)
	return f.step(at, h, latest{}, cause(h.revision, h.content), buried)
}

// revision is that of a seat that is held and counts, 0 if it does not.
func (f *Fold) revision(at holder) uint64 {
	if h := f.seats[at]; h.in {
		return h.revision
	}
	return 0
}

// doubtful returns seats that are held here and not in a list of what there is, or in it
// with a revision that is older or does not count, or as something else, and forgets those
// that do not count and are not listed.
func (f *Fold) doubtful(listed map[holder]latest) []holder {
	var out []holder
	for at, h := range f.seats {
		l, there := listed[at]
		switch {
		case !there && !h.in:
			delete(f.seats, at)
		case !there, h.in && !f.view.counts(at.node, l.revision), l.revision < h.revision, l.revision == h.revision && (l.Gone != h.Gone || l.Count != h.Count):
			out = append(out, at)
		}
	}
	return out
}

// correct is apply for what the table says for certain. It counts also if it is older than
// what is known: a table that was restored has forgotten that.
func (f *Fold) correct(at holder, revision uint64, n content) []Change {
	f.doubt(at, revision-1)
	return f.take(at, latest{n, revision, !n.Gone && f.view.counts(at.node, revision)})
}

// doubt lowers the revision at which a seat is known, so that any later one counts. What names its
// changes stays.
func (f *Fold) doubt(at holder, revision uint64) {
	if h, ok := f.seats[at]; ok && h.revision > revision {
		h.Since, h.revision = cause(h.revision, h.content), revision
		f.seats[at] = h
	}
}
