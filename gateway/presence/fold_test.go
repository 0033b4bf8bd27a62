package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// written is one write to the table.
type written struct {
	at       holder
	revision uint64
	n        content
}

// TestFoldComesToTheSameMembers lets folds see the same writes in different orders, and miss some, and
// compares them with the table after a lookup.
func TestFoldComesToTheSameMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := map[holder]written{}
		var log []written
		graves := map[string]uint64{}
		for i := range rapid.IntRange(1, 60).Draw(t, "writes") {
			revision := uint64(i + 1)
			node := fmt.Sprint("n", rapid.IntRange(0, 2).Draw(t, "node"))
			if rapid.IntRange(0, 20).Draw(t, "burial") == 0 {
				graves[node] = revision
				for at := range table {
					if at.node == node {
						delete(table, at)
					}
				}
				continue
			}
			at := holder{node, []string{"", "u1", "u2", "u3"}[rapid.IntRange(0, 3).Draw(t, "user")]}
			w := written{at, revision, content{User: at.user}}
			if old := table[at]; old.revision > 0 && !old.n.Gone && rapid.Bool().Draw(t, "leaves") {
				w.n.Gone, w.n.Since = true, old.revision
			} else if at.user == "" {
				w.n.Count = rapid.IntRange(1, 5).Draw(t, "count")
			}
			table[at] = w
			log = append(log, w)
		}
		f := NewFold(rapid.Bool().Draw(t, "occupied by members"))
		counting := &register{Nodes: map[string]standing{"n0": {}, "n1": {}, "n2": {}}}
		f.know(counting, nil)
		bury := func(node string, revision uint64) []Change {
			counting = counting.with(node, &standing{Floor: revision})
			return f.know(counting, map[string]bool{node: true})
		}
		view, count, occupied := map[string]bool{}, 0, false
		see := func(changes []Change) {
			for _, c := range changes {
				switch c.Kind {
				case Added:
					if f.byMembers && !occupied {
						t.Fatalf("%s came before the channel was occupied", c.User)
					}
					if view[c.User] {
						t.Fatalf("%s came twice", c.User)
					}
					view[c.User] = true
				case Removed:
					if !view[c.User] {
						t.Fatalf("%s went twice", c.User)
					}
					delete(view, c.User)
				case Counted:
					if count = c.Count; !f.byMembers && count > 0 && !occupied {
						t.Fatalf("%d were counted before the channel was occupied", count)
					}
				case Occupied, Vacated:
					if !f.byMembers && c.Kind == Vacated && count > 0 {
						t.Fatalf("the channel was vacated before %d had gone", count)
					}
					if f.byMembers && c.Kind == Vacated && len(view) > 0 {
						t.Fatalf("the channel was vacated before %v had gone", view)
					}
					if (c.Kind == Occupied) == occupied {
						t.Fatalf("the channel was occupied or vacated twice")
					}
					occupied = c.Kind == Occupied
				}
			}
		}
		for _, i := range rapid.Permutation(indexes(len(log))).Draw(t, "order") {
			if w := log[i]; rapid.IntRange(0, 4).Draw(t, "lost") > 0 {
				changes := f.apply(w.at, w.revision, w.n)
				for _, c := range changes {
					if c.Kind == Counted && c.Version < w.revision {
						t.Fatalf("a count of revision %d says that it is of %d", w.revision, c.Version)
					}
				}
				see(changes)
				if again := f.apply(w.at, w.revision, w.n); again != nil {
					t.Fatalf("what is told of twice changes %v", again)
				}
			}
			for node, revision := range graves {
				if rapid.Bool().Draw(t, "hears") {
					see(bury(node, revision))
				}
			}
		}
		for node, revision := range graves {
			see(bury(node, revision))
		}
		compare := func() {
			t.Helper()
			listed := map[holder]latest{}
			for at, w := range table {
				listed[at] = latest{content: w.n, revision: w.revision}
				see(f.apply(at, w.revision, w.n))
			}
			for _, at := range f.doubtful(listed) {
				if w, there := table[at]; there {
					see(f.correct(at, w.revision, w.n))
				} else {
					see(f.remove(at, true))
				}
			}
			wantUsers, wantCount := map[string]bool{}, 0
			for at, w := range table {
				switch {
				case w.n.Gone:
				case at.user == "":
					wantCount += w.n.Count
				default:
					wantUsers[at.user] = true
				}
			}
			got := map[string]bool{}
			members := f.Members()
			for i, m := range members {
				got[m.User] = true
				if i > 0 && (m.since < members[i-1].since || m.since == members[i-1].since && m.User <= members[i-1].User) {
					t.Fatalf("members are not in the order in which they came: %v", members)
				}
			}
			if !maps.Equal(got, wantUsers) || !maps.Equal(view, wantUsers) || f.Users() != len(wantUsers) {
				t.Fatalf("members %v, seen by changes %v, want %v", got, view, wantUsers)
			}
			if f.Count() != wantCount || count != wantCount || !f.byMembers && occupied != (wantCount > 0) ||
				f.byMembers && occupied != (len(wantUsers) > 0) {
				t.Fatalf("count %d, seen by changes %d, want %d", f.Count(), count, wantCount)
			}
		}
		compare()
		// The table is restored to an earlier state, but not to before a burial. Revisions are used again,
		// and some changes are not seen.
		restored := uint64(0)
		for _, revision := range graves {
			restored = max(restored, revision)
		}
		restored = max(restored, uint64(rapid.IntRange(0, 60).Draw(t, "restored")))
		clear(table)
		for _, w := range log {
			if w.revision <= restored && w.revision > graves[w.at.node] {
				table[w.at] = w
			}
		}
		for i := range rapid.IntRange(0, 10).Draw(t, "writes afterwards") {
			at := holder{"n1", []string{"", "u1", "u2"}[rapid.IntRange(0, 2).Draw(t, "user afterwards")]}
			w := written{at, restored + uint64(i) + 1, content{User: at.user, Count: 1, Gone: rapid.Bool().Draw(t, "gone")}}
			if at.user != "" {
				w.n.Count = 0
			}
			table[at] = w
			if rapid.Bool().Draw(t, "heard") {
				see(f.apply(w.at, w.revision, w.n))
			}
		}
		compare()
	})
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestSeatsHaveKeysOfTheirOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := seat{
			rapid.String().Draw(t, "app"), rapid.String().Draw(t, "channel"),
			rapid.StringMatching(`[a-z0-9]+`).Draw(t, "node"), rapid.StringN(0, 128, 400).Draw(t, "user"),
		}
		if got, _, ok := parse(s.key(), mustJSON(content{User: s.user})); !ok || got != s {
			t.Fatalf("%q gave %+v, %v; want %+v", s.key(), got, ok, s)
		}
	})
}

// TestTrust15LateNewsBelowTheFloor: a record of a gateway arrives after the gateway has raised its floor, and
// before the record that replaces it.
func TestTrust15LateNewsBelowTheFloor(t *testing.T) {
	view := &register{Nodes: map[string]standing{"a": {}}}
	raised := view.with("a", &standing{Floor: 15})
	count := holder{"a", ""}
	for name, test := range map[string]struct {
		last    content
		changes int
	}{
		"held": {content{Count: 3}, 1}, "given up": {content{Gone: true, Since: 14}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFold(false)
			f.know(view, nil)
			if got := f.apply(count, 10, content{Count: 1}); len(got) != 2 || got[0].Kind != Occupied {
				t.Fatalf("the first record gave %v", got)
			}
			f.know(raised, nil)
			if got := f.apply(count, 14, content{Count: 2}); len(got) != 1 || got[0].Count != 2 {
				t.Errorf("a record that came late gave %v", got)
			}
			if got := f.apply(count, 20, test.last); len(got) != test.changes {
				t.Errorf("the last record gave %v", got)
			}
			if got := f.apply(holder{"a", "ghost"}, 12, content{User: "ghost"}); len(got) != 0 || f.Users() != 0 {
				t.Errorf("a seat that nobody knew gave %v", got)
			}
		})
	}
	f := NewFold(false)
	f.know(view, nil)
	f.apply(count, 10, content{Count: 1})
	f.know(raised, nil)
	f.apply(count, 14, content{Count: 2})
	listed := map[holder]latest{count: {content: content{Count: 2}, revision: 14}}
	if got := f.doubtful(listed); len(got) != 1 {
		t.Errorf("a record that should be gone is not looked up: %v", got)
	}
	got := f.correct(count, 14, content{Count: 2})
	if len(got) != 2 || got[1].Kind != Vacated || !got[1].Buried || f.Count() != 0 {
		t.Errorf("a record that came back gave %v", got)
	}
}

// TestTheFirstInfoIsInForceInAnyOrder: the oldest info of a user applies, in whatever order the seats are
// seen.
func TestTheFirstInfoIsInForceInAnyOrder(t *testing.T) {
	seats := []struct {
		node     string
		revision uint64
		info     string
	}{{"a", 10, `"a"`}, {"b", 11, `"b"`}, {"c", 12, `"c"`}}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		f := NewFold(true)
		f.know(&register{Nodes: map[string]standing{"a": {}, "b": {}, "c": {}}}, nil)
		for _, i := range order {
			f.apply(holder{seats[i].node, "u"}, seats[i].revision, content{User: "u", Info: json.RawMessage(seats[i].info)})
		}
		if info, in := f.Has("u"); !in || string(info) != `"a"` {
			t.Errorf("heard in the order %v, the info is %s", order, info)
		}
	}
}
