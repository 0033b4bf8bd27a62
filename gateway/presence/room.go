package presence

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

// Sink receives the changes of a room, in order and one call at a time. version rises with each call. Changed
// may wait, but must not call the room or wait for it.
type Sink interface {
	Changed(version uint64, changes []Change)
}

// Room is one channel that this gateway follows.
type Room struct {
	roster       *Roster
	app, channel string
	sink         Sink
	stop         func()
	// stale: the room waits to be compared with the table. The lock of the roster guards it.
	stale bool

	// turn is held from applying a record until its changes were told, so that they are told in order. The
	// sink may wait while it is held.
	turn rank.Mutex[rank.RoomTurn]
	// others has the recent changes of other gateways, which may have to be told first. turn guards it.
	others earlier

	mu   rank.Mutex[rank.Room]
	fold *Fold
	// early are the newest records that came before the first comparison with the table, by key; nil
	// afterwards.
	early   map[string]kv.Record
	version uint64
	// moved is closed and replaced when the fold has applied something.
	moved chan struct{}
	// local is the number of connections of each user on this gateway. leaving is set while the fold may have
	// users that have none here.
	local   map[string]int
	leaving bool
	synced  bool
	closed  bool
}

// Open follows a channel and returns when its members are known. Close ends it. sink may be nil. Only one
// room of a channel may be open at a time. Errors: those of the table, or of ctx.
func (r *Roster) Open(ctx context.Context, app, channel string, sink Sink) (*Room, error) {
	room := &Room{
		roster: r, app: app, channel: channel, sink: sink, fold: r.newFold(channel),
		moved: make(chan struct{}), local: map[string]int{}, leaving: true, early: map[string]kv.Record{},
	}
	// From here on, the room is told of new registers.
	r.mu.Lock()
	r.rooms[roomKey{app, channel}] = room
	r.mu.Unlock()
	r.adopting.Lock()
	room.know(r.view.Load(), nil)
	r.adopting.Unlock()
	stop, err := r.opt.Table.Watch(channelPattern(app, channel), room)
	room.stop = stop
	if err == nil {
		err = room.sync(ctx)
	}
	if err != nil {
		room.Close()
		return nil, err
	}
	return room, nil
}

// Close stops following. The sink is not called any more afterwards. Close does not give up seats of this
// gateway.
func (m *Room) Close() {
	if m.stop != nil {
		m.stop()
	}
	m.turn.Lock()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.turn.Unlock()
	r := m.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := (roomKey{m.app, m.channel}); r.rooms[key] == m {
		delete(r.rooms, key)
	}
}

// Changed implements [kv.Watcher].
func (m *Room) Changed(rec kv.Record) {
	s, n, ok := parse(rec.Key, rec.Value)
	if !ok {
		return
	}
	if !n.Gone && m.roster.view.Load().unsure(s.node, rec.Revision) {
		// The seat counts as soon as the register says so.
		m.roster.hurry()
	}
	m.take(func() []Change {
		if m.early != nil && rec.Revision > m.early[rec.Key].Revision {
			m.early[rec.Key] = rec
		}
		changes := m.fold.apply(holder{s.node, s.user}, rec.Revision, n)
		m.conform(s.user)
		return changes
	})
}

// Lost implements [kv.Watcher].
func (m *Room) Lost() { m.roster.resync(m) }

// news are the changes to be told, and the version of the room after them.
type news struct {
	version uint64
	changes []Change
	// read: the change was read from the table. It happened at the time at, zero if that is not known.
	read bool
	at   time.Time
}

// take applies something to the fold, and tells what has changed.
func (m *Room) take(in func() []Change) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	n := m.took(in())
	m.mu.Unlock()
	m.tell(n)
}

// took notes changes, and returns what must be told of them. The caller holds both locks.
func (m *Room) took(changes []Change) news {
	close(m.moved)
	m.moved = make(chan struct{})
	if len(changes) == 0 || m.closed {
		return news{}
	}
	m.version++
	if !m.synced {
		return news{}
	}
	return news{version: m.version, changes: changes}
}

// tell tells changes. The caller holds turn but not mu.
func (m *Room) tell(n news) {
	if n.version == 0 {
		return
	}
	// The sink tells webhooks of the number of subscriptions, which must come after occupied and before
	// vacated.
	before := n.changes
	if last := len(before) - 1; before[last].Kind == Vacated {
		before = before[:last]
	}
	at := m.roster.opt.Now()
	if n.read {
		at = n.at
	}
	m.report(before, at)
	if m.sink != nil {
		m.sink.Changed(n.version, n.changes)
	}
	m.report(n.changes[len(before):], at)
}

// report tells the changes that this gateway made: every gateway sees a change, and the one that made it owes
// the webhook. The changes of a dead gateway are told by the one that buries it.
func (m *Room) report(changes []Change, at time.Time) {
	now := m.roster.opt.Now()
	for _, c := range changes {
		if c.Node != m.roster.opt.Node || c.Buried {
			m.others.remember(c, at)
			continue
		}
		for _, first := range m.others.before(c, now) {
			m.roster.opt.Tell(m.app, m.channel, first)
		}
		m.roster.opt.Tell(m.app, m.channel, c)
	}
}

// sync compares the room with the table.
func (m *Room) sync(ctx context.Context) error {
	records, err := m.roster.list(ctx, channelPattern(m.app, m.channel))
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b kv.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	listed := map[holder]latest{}
	var told []news
	m.turn.Lock()
	m.mu.Lock()
	for _, rec := range records {
		s, n, ok := parse(rec.Key, rec.Value)
		if !ok {
			continue
		}
		at := holder{s.node, s.user}
		listed[at] = latest{content: n, revision: rec.Revision}
		change := m.took(m.fold.apply(at, rec.Revision, n))
		// Another gateway has told its changes long ago if they were missed here for long.
		if change.read = true; n.Gone || n.Since == 0 && n.First == 0 {
			change.at = rec.Time
		}
		told = append(told, change)
	}
	if !m.synced {
		// The list may lack records that arrived meanwhile, and these were not told.
		if c, at, ok := m.roster.lately(m.channel, newest(records, m.early)); ok {
			m.others.remember(c, at)
		}
		m.early = nil
	}
	suspects := m.fold.doubtful(listed)
	m.synced = true
	m.mu.Unlock()
	for _, n := range told {
		m.tell(n)
	}
	m.turn.Unlock()
	for at, h := range listed {
		if at.node == m.roster.opt.Node && !h.Gone {
			m.roster.disown(seat{m.app, m.channel, at.node, at.user}, h)
		}
	}
	for _, at := range suspects {
		if err := m.lookUp(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// lookUp reads the newest record of a seat if a list lacks it or has an older state. The list may be from a
// replica that is behind, or the table has lost its latest writes.
func (m *Room) lookUp(ctx context.Context, at holder) error {
	s := seat{m.app, m.channel, at.node, at.user}
	rec, err := m.roster.opt.Table.Read(ctx, s.key())
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if at.node == m.roster.opt.Node && m.roster.assert(s, rec.Revision) {
		// This gateway knows its own seats best, and writes this one again.
		m.mu.Lock()
		defer m.mu.Unlock()
		m.fold.doubt(at, rec.Revision)
		return nil
	}
	if err != nil {
		// Only this gateway tells of the seats that it gave up, even if there is no record of that.
		m.take(func() []Change { return m.fold.remove(at, at.node != m.roster.opt.Node) })
	} else if _, n, ok := parse(s.key(), rec.Value); ok {
		m.take(func() []Change { return m.fold.correct(at, rec.Revision, n) })
	}
	return nil
}

// know applies a register.
func (m *Room) know(view *register, moved map[string]bool) {
	m.take(func() []Change { return m.fold.know(view, moved) })
}

// Members returns the users in the channel, and the version at which they are that.
func (m *Room) Members() ([]Member, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fold.Members(), m.version
}

// Counts returns the number of subscriptions and of users, and the version at which they are that.
func (m *Room) Counts() (subscriptions, users int, version uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fold.Count(), m.fold.Users(), m.version
}

// Others returns the number of subscriptions on other gateways.
func (m *Room) Others() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.elsewhere()
}

// Idle reports whether this gateway has no seats in the channel any more and has told all of that.
func (m *Room) Idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, h := range m.fold.seats {
		if at.node == m.roster.opt.Node && !h.Gone {
			return false
		}
	}
	m.roster.ownMu.Lock()
	defer m.roster.ownMu.Unlock()
	return len(m.local) == 0 && m.roster.own[seat{m.app, m.channel, m.roster.opt.Node, ""}] == nil
}
