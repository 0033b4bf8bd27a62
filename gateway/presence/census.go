package presence

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/kv"
)

// Queries about channels are answered with the seats of this gateway as they should be, and not as the table
// has them yet: a client may query as soon as it has its success frame.

// Totals are the totals of a channel. With members, there is at least one subscription for each user, and
// none without users, because the table gets both in any order.
type Totals struct{ Subscriptions, Users int }

func (r *Roster) totals(channel string, subscriptions, users int) Totals {
	switch {
	case r.opt.Members == nil || !r.opt.Members(channel):
	case users == 0:
		subscriptions = 0
	default:
		subscriptions = max(subscriptions, users)
	}
	return Totals{subscriptions, users}
}

// Count returns the totals of a channel over all gateways.
func (r *Roster) Count(ctx context.Context, app, channel string) (Totals, error) {
	if m := r.find(app, channel); m != nil {
		return m.totals(), nil
	}
	f, err := r.look(ctx, app, channel)
	if err != nil {
		return Totals{}, err
	}
	return r.totals(channel, f.Count(), f.Users()), nil
}

// Members returns the users in a channel, in the order in which they joined.
func (r *Roster) Members(ctx context.Context, app, channel string) ([]Member, error) {
	if m := r.find(app, channel); m != nil {
		return m.present(), nil
	}
	f, err := r.look(ctx, app, channel)
	if err != nil {
		return nil, err
	}
	return f.Members(), nil
}

// Users returns the ids of the users in a channel, in the order in which they joined.
func (r *Roster) Users(ctx context.Context, app, channel string) ([]string, error) {
	members, err := r.Members(ctx, app, channel)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(members))
	for i := range members {
		out[i] = members[i].User
	}
	return out, nil
}

// Channels returns the totals of those channels of an app that have subscriptions and a name with a prefix.
// room is called with about how many further bytes are held for that, piece by piece. Its error ends the
// query. It may be nil.
func (r *Roster) Channels(ctx context.Context, app, prefix string, room func(bytes int) error) (map[string]Totals, error) {
	done, err := r.surveys.Take(ctx, app)
	if err != nil {
		return nil, err
	}
	defer done()
	records, err := r.survey(ctx, appPattern(app), room)
	if err != nil {
		return nil, err
	}
	channels := r.channelsHere(app, prefix)
	for _, rec := range records {
		if s, _, ok := parse(rec.Key, rec.Value); ok && strings.HasPrefix(s.channel, prefix) {
			channels[s.channel] = append(channels[s.channel], rec)
		}
	}
	out := map[string]Totals{}
	for channel, records := range channels {
		f := r.foldOf(channel, records)
		r.override(f, app, channel)
		if n := r.totals(channel, f.Count(), f.Users()); n.Subscriptions > 0 {
			out[channel] = n
		}
	}
	return out, nil
}

// find returns the room of a channel if it was compared with the table.
func (r *Roster) find(app, channel string) *Room {
	r.mu.Lock()
	m := r.rooms[roomKey{app, channel}]
	r.mu.Unlock()
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.synced || m.closed {
		return nil
	}
	return m
}

// look returns the fold of a channel that is not followed here. All concurrent callers share it, so they must
// not change it.
func (r *Roster) look(ctx context.Context, app, channel string) (*Fold, error) {
	return r.looks.Do(ctx, roomKey{app, channel}, func(ctx context.Context) (*Fold, error) {
		done, err := r.surveys.Take(ctx, app)
		if err != nil {
			return nil, err
		}
		defer done()
		records, err := r.survey(ctx, channelPattern(app, channel), nil)
		if err != nil {
			return nil, err
		}
		f := r.foldOf(channel, records)
		r.override(f, app, channel)
		return f, nil
	})
}

// override sets the seats of this gateway in a fold to what they should be. A member joins only when the
// table has it.
func (r *Roster) override(f *Fold, app, channel string) {
	own := r.opt.Node
	seats := slices.DeleteFunc(slices.Collect(maps.Keys(f.seats)), func(at holder) bool { return at.node != own || at.user == "" })
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	for _, at := range seats {
		if c := r.own[seat{app, channel, own, at.user}]; c == nil || c.wanted == nil {
			f.replace(at, content{}, false)
		}
	}
	n := r.here(seat{app, channel, own, ""})
	f.replace(holder{own, ""}, content{Count: n}, n > 0)
}

// here returns the number of subscriptions that this gateway has in a channel, including those about to
// begin. The caller holds the lock of the own seats.
func (r *Roster) here(s seat) int {
	n := r.coming[s]
	if c := r.own[s]; c != nil && c.wanted != nil {
		n += c.wanted.Count
	}
	return n
}

// channelsHere returns the channels of an app in which this gateway has subscriptions, without records.
func (r *Roster) channelsHere(app, prefix string) map[string][]kv.Record {
	out := map[string][]kv.Record{}
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	note := func(s seat) {
		if s.app == app && s.user == "" && strings.HasPrefix(s.channel, prefix) && r.here(s) > 0 {
			out[s.channel] = nil
		}
	}
	for s := range r.own {
		note(s)
	}
	for s := range r.coming {
		note(s)
	}
	return out
}

// totals returns the totals of the room.
func (m *Room) totals() Totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.roster
	r.ownMu.Lock()
	here := r.here(seat{m.app, m.channel, r.opt.Node, ""})
	r.ownMu.Unlock()
	return r.totals(m.channel, m.elsewhere()+here, m.fold.Users()-len(m.gone()))
}

// elsewhere returns the number of subscriptions on other gateways. The caller holds the lock.
func (m *Room) elsewhere() int {
	n := m.fold.Count()
	if own := m.fold.seats[holder{m.roster.opt.Node, ""}]; own.in {
		n -= own.Count
	}
	return n
}

// present returns the members of the room.
func (m *Room) present() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := m.gone()
	return slices.DeleteFunc(m.fold.Members(), func(u Member) bool { return gone[u.User] })
}

// gone returns users that are members only by a seat that this gateway is giving up. The caller holds the
// lock.
func (m *Room) gone() map[string]bool {
	if !m.leaving {
		return nil
	}
	m.leaving = false
	out := map[string]bool{}
	for at, h := range m.fold.seats {
		if at.node != m.roster.opt.Node || at.user == "" || !h.in || m.local[at.user] > 0 {
			continue
		}
		m.leaving = true
		if m.fold.members[at.user].seats == 1 {
			out[at.user] = true
		}
	}
	return out
}
