package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/kv"
)

// TestWeeks18OthersAreToldFirst: a gateway adds a member to a channel which another one has just occupied,
// and does not know whether that was told already.
func TestWeeks18OthersAreToldFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	theirs := func(kind Kind, user string) Change { return Change{Kind: kind, User: user, Node: "other", Cause: 7} }
	mine := func(kind Kind, user string) Change { return Change{Kind: kind, User: user, Node: "mine", Cause: 8} }
	for _, c := range []struct {
		about string
		noted []Change
		after time.Duration
		mine  Change
		want  []Change
	}{
		{"occupied before added", []Change{theirs(Occupied, "")}, 0, mine(Added, "b"), []Change{theirs(Occupied, "")}},
		{"occupied before counted", []Change{theirs(Occupied, "")}, 0, mine(Counted, ""), []Change{theirs(Occupied, "")}},
		{"removed before vacated", []Change{theirs(Occupied, ""), theirs(Removed, "a"), theirs(Removed, "c")}, 0, mine(Vacated, ""),
			[]Change{theirs(Removed, "a"), theirs(Removed, "c")}},
		{"not what is long told", []Change{theirs(Occupied, "")}, earlierFor, mine(Added, "b"), nil},
		{"nor who left long ago", []Change{theirs(Removed, "a")}, earlierFor, mine(Vacated, ""), nil},
		{"nor what is over", []Change{theirs(Occupied, ""), theirs(Vacated, "")}, 0, mine(Added, "b"), nil},
		{"vacated before occupied again", []Change{theirs(Occupied, ""), theirs(Vacated, "")}, 0, mine(Occupied, ""), []Change{theirs(Vacated, "")}},
		{"with who left it", []Change{theirs(Removed, "a"), theirs(Vacated, "")}, 0, mine(Occupied, ""), []Change{theirs(Removed, "a"), theirs(Vacated, "")}},
		{"not what was vacated long ago", []Change{theirs(Removed, "a"), theirs(Vacated, "")}, earlierFor, mine(Occupied, ""), nil},
		{"nor what others occupied since", []Change{theirs(Removed, "a"), theirs(Vacated, ""), theirs(Occupied, "")}, 0, mine(Vacated, ""), nil},
		{"members do not depend on each other", []Change{theirs(Added, "a"), theirs(Removed, "a")}, 0, mine(Added, "b"), nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			var e earlier
			for _, n := range c.noted {
				e.remember(n, now)
			}
			if diff := cmp.Diff(c.want, e.before(c.mine, now.Add(c.after))); diff != "" {
				t.Error(diff)
			}
			if again := e.before(c.mine, now); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
	var e earlier
	for range 2 * maxEarlier {
		e.remember(theirs(Removed, "a"), now)
	}
	if n := len(e.before(mine(Vacated, ""), now)); n != maxEarlier {
		t.Errorf("%d were remembered, the bound is %d", n, maxEarlier)
	}
}

// TestTrust15VacatedIsToldBeforeOccupied: the last member leaves a channel on one gateway while another joins
// on a second gateway, whose seat is written a moment later. If webhooks heard of the second one first, they
// would take back that the channel was vacated. So the second gateway tells both, the first one under the id
// that the other gateway uses.
func TestTrust15VacatedIsToldBeforeOccupied(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	now := time.Now()
	stands := func() time.Time { return now }
	a, b := startWith(t, table, Options{Node: "a", Now: stands}), startWith(t, table, Options{Node: "b", Now: stands})
	count := func(g *gatewayT, n int) {
		g.SetCount("app", "presence-room", n)
		eventually(t, "both know the count", func() bool {
			inA, _, _ := a.room.Counts()
			inB, _, _ := b.room.Counts()
			return inA == n && inB == n
		})
	}
	count(a, 1)
	count(a, 0)
	count(b, 1)
	told := func(g *gatewayT) (out []Change) {
		for _, c := range g.told() {
			if c.Kind == Occupied || c.Kind == Vacated {
				out = append(out, c)
			}
		}
		return out
	}
	eventually(t, "b has told that the channel is occupied", func() bool { return len(told(b)) > 1 })
	theirs, mine := told(a), told(b)
	if len(theirs) != 2 || theirs[1].Kind != Vacated {
		t.Fatalf("a told %v", theirs)
	}
	if mine[0].Kind != Vacated || mine[0].Node != "a" || mine[0].Cause != theirs[1].Cause || mine[1].Kind != Occupied || mine[1].Node != "b" {
		t.Errorf("b told %v after a told %v", mine, theirs)
	}
}

// late is a table that calls listed after a list was made and before it is returned.
type late struct {
	kv.Table
	listed func()
}

func (l *late) List(ctx context.Context, pattern string) ([]kv.Record, error) {
	records, err := l.Table.List(ctx, pattern)
	if l.listed != nil {
		l.listed()
	}
	return records, err
}

// TestWeeks18WhatCameBeforeTheListIsNotForgotten: a gateway opens a channel while another one occupies or vacates
// it. The list of the table is older than that, and the change arrives before the list is compared. It is not told
// by itself, but must be told before the gateway's own changes.
func TestWeeks18WhatCameBeforeTheListIsNotForgotten(t *testing.T) {
	for _, c := range []struct {
		about string
		// before is done by the other gateway before the list is made, and since after it.
		before, since func(t *testing.T, other *Room)
		want          []Kind
	}{
		{"occupied since", nil, comes, []Kind{Occupied, Added}},
		{"occupied before", comes, nil, []Kind{Occupied, Added}},
		{"vacated since", comes, goes, []Kind{Vacated, Occupied, Added}},
		{"vacated before", func(t *testing.T, other *Room) { comes(t, other); goes(t, other) }, nil, []Kind{Vacated, Occupied, Added}},
		{"occupied again since", func(t *testing.T, other *Room) { comes(t, other); goes(t, other) }, comes, []Kind{Occupied, Added}},
	} {
		t.Run(c.about, func(t *testing.T) {
			table, members := kv.NewMemoryTable(nil), func(string) bool { return true }
			now := time.Now()
			stands := func() time.Time { return now }
			slow := &late{Table: table}
			a := startWith(t, table, Options{Node: "a", Members: members, Now: stands})
			b := startWith(t, slow, Options{Node: "b", Members: members, Now: stands})
			theirs, err := a.Open(t.Context(), "app", "presence-late", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(theirs.Close)
			do := func(what func(*testing.T, *Room)) {
				if what != nil {
					what(t, theirs)
				}
			}
			do(c.before)
			slow.listed = sync.OnceFunc(func() { do(c.since) })
			mine, err := b.Open(t.Context(), "app", "presence-late", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(mine.Close)
			if err := mine.Join(t.Context(), "b", json.RawMessage("{}"), 10); err != nil {
				t.Fatal(err)
			}
			eventually(t, "b has told of its member", func() bool {
				return slices.ContainsFunc(b.told(), func(c Change) bool { return c.Kind == Added })
			})
			var got []Kind
			for _, change := range b.told() {
				if theirs := change.Node == "a"; theirs != (len(got) == 0) {
					t.Errorf("%d of %s", change.Kind, change.Node)
				}
				got = append(got, change.Kind)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("b told %v, want %v", got, c.want)
			}
			for _, change := range b.told()[:1] {
				same := func(o Change) bool { return o.Kind == change.Kind && o.Node == change.Node && o.Cause == change.Cause }
				if !slices.ContainsFunc(a.told(), same) {
					t.Errorf("b told %+v, a told %+v", change, a.told())
				}
			}
		})
	}
}

// TestWeeks18WhatCameBeforeTheListInChannelsWithoutMembers: there, subscriptions occupy a channel.
func TestWeeks18WhatCameBeforeTheListInChannelsWithoutMembers(t *testing.T) {
	for _, since := range []bool{false, true} {
		t.Run(fmt.Sprint("vacated since the list ", since), func(t *testing.T) {
			table := kv.NewMemoryTable(nil)
			now := time.Now()
			stands := func() time.Time { return now }
			slow := &late{Table: table}
			a := startWith(t, table, Options{Node: "a", Now: stands})
			b := startWith(t, slow, Options{Node: "b", Now: stands})
			theirs, err := a.Open(t.Context(), "app", "late", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(theirs.Close)
			tells := func(kind Kind) {
				eventually(t, fmt.Sprint("a has told ", kind), func() bool {
					return slices.ContainsFunc(a.told(), func(c Change) bool { return c.Kind == kind })
				})
			}
			a.SetCount("app", "late", 1)
			tells(Occupied)
			leaves := func() { a.SetCount("app", "late", 0); tells(Vacated) }
			if since {
				slow.listed = sync.OnceFunc(leaves)
			} else {
				leaves()
			}
			mine, err := b.Open(t.Context(), "app", "late", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(mine.Close)
			b.SetCount("app", "late", 1)
			eventually(t, "b has told that it occupies the channel", func() bool {
				return slices.ContainsFunc(b.told(), func(c Change) bool { return c.Kind == Occupied && c.Node == "b" })
			})
			var got []string
			for _, c := range b.told() {
				if c.Kind == Occupied || c.Kind == Vacated {
					got = append(got, fmt.Sprint(c.Node, c.Kind))
				}
			}
			if want := []string{fmt.Sprint("a", Vacated), fmt.Sprint("b", Occupied)}; !slices.Equal(got, want) {
				t.Errorf("b told %v, want %v", got, want)
			}
			for _, c := range b.told() {
				same := func(o Change) bool { return o.Kind == c.Kind && o.Node == c.Node && o.Cause == c.Cause }
				if c.Node == "a" && !slices.ContainsFunc(a.told(), same) {
					t.Errorf("b told %+v, a told %+v", c, a.told())
				}
			}
		})
	}
}

// comes and goes make a member of another gateway join a channel and leave it.
func comes(t *testing.T, other *Room) {
	t.Helper()
	if err := other.Join(t.Context(), "a", json.RawMessage("{}"), 10); err != nil {
		t.Error(err)
	}
}

func goes(t *testing.T, other *Room) {
	t.Helper()
	other.Leave("a")
	eventually(t, "the member has left", func() bool { _, users, _ := other.Counts(); return users == 0 })
}

// TestAChannelIsOccupiedUnderOneName: a gateway that opens the channel later, or buries the gateway that
// occupied it, tells of the occupation under the id that was used before.
func TestAChannelIsOccupiedUnderOneName(t *testing.T) {
	table := kv.NewMemoryTable(nil)
	a := startWith(t, table, Options{Node: "a", Lease: longLease})
	b := startWith(t, table, Options{Node: "b", Lease: longLease})
	open := func(g *gatewayT) *Room {
		t.Helper()
		room, err := g.Open(t.Context(), "app", "late", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(room.Close)
		return room
	}
	counts := func(by *Room, n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " are counted"), func() bool { got, _, _ := by.Counts(); return got == n })
	}
	theirs := open(a)
	for n := range 3 {
		a.SetCount("app", "late", n+1)
		counts(theirs, n+1)
	}
	mine := open(b)
	b.SetCount("app", "late", 1)
	counts(mine, 4)
	b.SetCount("app", "late", 0)
	counts(mine, 3)
	a.die()
	expire("a", b)
	eventually(t, "the channel is vacated", func() bool {
		return slices.ContainsFunc(b.told(), func(c Change) bool { return c.Kind == Vacated })
	})
	causes := map[uint64]bool{}
	for _, c := range append(a.told(), b.told()...) {
		if c.Kind == Occupied {
			causes[c.Cause] = true
		}
	}
	if len(causes) != 1 {
		t.Errorf("the channel was occupied under %d names: a told %+v, b told %+v", len(causes), a.told(), b.told())
	}
}
