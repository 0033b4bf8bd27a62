package presence

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Kind is the kind of a [Change].
type Kind uint8

const (
	// Added and Removed are for the first and the last connection of a user.
	Added Kind = iota + 1
	Removed
	// Counted is a new number of subscriptions. Occupied and Vacated are for the first and the last
	// subscription, or in a channel with members for the first and the last member. Occupied precedes Counted
	// and Added, Vacated follows Counted and Removed.
	Counted
	Occupied
	Vacated
)

// Change is one change of a channel's members or subscriptions.
type Change struct {
	Kind Kind
	User string
	// Info of an added user is a JSON value.
	Info json.RawMessage
	// Count is the number of subscriptions after the change.
	Count int
	// Node is the gateway whose seat caused the change. Cause, a revision, names the change together with the
	// seat, and for Counted also with Seat, the number of subscriptions of the seat after it. For a seat that
	// is given up, Cause is the revision with which it was held.
	Node  string
	Cause uint64
	Seat  int
	// Buried is true if the gateway itself did not report the change.
	Buried bool
	// Version is the newest revision in a count: of two counts of a channel, the one with the higher version
	// is right.
	Version uint64
}

// holder identifies a seat in a channel: a user on a gateway, or with an empty user the subscriptions of the
// gateway.
type holder struct{ node, user string }

// latest is the newest known state of a seat. in is set if the seat is held and counts.
type latest struct {
	content
	revision uint64
	in       bool
}

// Member is a user in a channel.
type Member struct {
	User string
	Info json.RawMessage
	// since orders members by when they joined.
	since uint64
	seats int
}

// Fold derives who is in one channel from the records of its seats in any order. It is a plain value without
// a clock or a lock.
type Fold struct {
	seats    map[holder]latest
	members  map[string]*Member
	view     *register
	count    int
	occupied bool
	// newest is the highest revision that was applied.
	newest uint64
	// byMembers: members occupy the channel, and its subscriptions do not count for that. Both have seats of
	// their own, which are written in any order.
	byMembers bool
}

// NewFold returns the fold of an empty channel. byMembers says whether members occupy it, otherwise
// subscriptions do.
func NewFold(byMembers bool) *Fold {
	return &Fold{byMembers: byMembers, seats: map[holder]latest{}, members: map[string]*Member{}}
}

// Users returns the number of distinct users.
func (f *Fold) Users() int { return len(f.members) }

// Count returns the number of subscriptions.
func (f *Fold) Count() int { return f.count }

// Has reports whether a user is a member, and returns the user's info.
func (f *Fold) Has(user string) (json.RawMessage, bool) {
	m := f.members[user]
	if m == nil {
		return nil, false
	}
	return m.Info, true
}

// Members returns the users in the order in which they joined.
func (f *Fold) Members() []Member {
	out := make([]Member, 0, len(f.members))
	for _, m := range f.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.User, b.User)) })
	return out
}

// apply applies the state of a seat at a revision. A state older than the known one changes nothing, and a
// seat of a gateway that does not count is not in. A seat that is in stays in if it is heard of late and the
// floor of its living gateway is above it by now: its gateway has written it again or given it up, and that
// record is still to come.
func (f *Fold) apply(at holder, revision uint64, n content) []Change {
	counts := f.view.counts(at.node, revision) || f.seats[at].in && f.view.alive(at.node)
	return f.take(at, latest{n, revision, !n.Gone && counts})
}

// take is apply for a caller that knows whether the seat counts.
func (f *Fold) take(at holder, h latest) []Change {
	old := f.seats[at]
	if h.revision <= old.revision {
		return nil
	}
	f.seats[at] = h
	f.newest = max(f.newest, h.revision)
	return f.step(at, old, h, cause(h.revision, h.content), !h.Gone && !h.in)
}

// step returns the changes that follow from a new state of a seat.
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

// cause returns the revision that names a change. For a seat that is given up, it is the one with which the
// seat was held, because other gateways know only that if the gateway has died. For a seat that was written
// again, it is the first one.
func cause(revision uint64, n content) uint64 {
	if n.Since > 0 {
		return n.Since
	}
	return revision
}

// beginning returns the revision that names the change by which a seat occupied its channel: a number of
// subscriptions is written many times, and not every gateway has seen the first one.
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
			// The seats of two gateways may arrive in any order. The info of the first one counts.
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

// occupy adds to the changes of a seat that the channel was occupied or vacated, named by cause.
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

// know applies a register. moved are the gateways that count now and did not before, or the reverse. Seats of
// other gateways are judged when they are written or looked up again.
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

// replace sets the state of a seat, whatever is known of it. No changes are reported.
func (f *Fold) replace(at holder, n content, in bool) {
	was := f.seats[at]
	is := latest{n, was.revision, in}
	f.seats[at] = is
	f.step(at, was, is, was.revision, false)
}

// remove forgets a seat that has no record. buried says that its gateway does not report the change itself.
func (f *Fold) remove(at holder, buried bool) []Change {
	h := f.seats[at]
	delete(f.seats, at)
	return f.step(at, h, latest{}, cause(h.revision, h.content), buried)
}

// revision returns the revision of a seat that is held and counts, otherwise 0.
func (f *Fold) revision(at holder) uint64 {
	if h := f.seats[at]; h.in {
		return h.revision
	}
	return 0
}

// doubtful returns the seats whose state here differs from a list of the table: those that are in here and
// not listed, or listed with an older revision, one that does not count, or a different state. It forgets
// seats that are neither in nor listed.
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

// correct is apply for a state from [kv.Table.Read], which is never outdated. It counts even if it is older
// than the known one, because a table that was restored has forgotten that.
func (f *Fold) correct(at holder, revision uint64, n content) []Change {
	f.doubt(at, revision-1)
	return f.take(at, latest{n, revision, !n.Gone && f.view.counts(at.node, revision)})
}

// doubt lowers the known revision of a seat, so that any later record counts. The revision that names its
// changes stays.
func (f *Fold) doubt(at holder, revision uint64) {
	if h, ok := f.seats[at]; ok && h.revision > revision {
		h.Since, h.revision = cause(h.revision, h.content), revision
		f.seats[at] = h
	}
}
