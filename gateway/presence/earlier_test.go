package presence

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWeeks18OthersAreToldFirst: a gateway that adds a member to a channel which another
// one has occupied just now does not know whether that was told already.
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
		{"removed before vacated", []Change{theirs(Occupied, ""), theirs(Removed, "a"), theirs(Removed, "c")}, 0, mine(Vacated, ""),
			[]Change{theirs(Removed, "a"), theirs(Removed, "c")}},
		{"not what is long told", []Change{theirs(Occupied, "")}, earlierFor, mine(Added, "b"), nil},
		{"nor who left long ago", []Change{theirs(Removed, "a")}, earlierFor, mine(Vacated, ""), nil},
		{"nor what is over", []Change{theirs(Occupied, ""), theirs(Vacated, "")}, 0, mine(Added, "b"), nil},
		{"members do not depend on each other", []Change{theirs(Added, "a"), theirs(Removed, "a")}, 0, mine(Added, "b"), nil},
	} {
		t.Run(c.about, func(t *testing.T) {
			var e earlier
			for _, n := range c.noted {
				e.note(n, now)
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
		e.note(theirs(Removed, "a"), now)
	}
	if n := len(e.before(mine(Vacated, ""), now)); n != maxEarlier {
		t.Errorf("%d were remembered, the bound is %d", n, maxEarlier)
	}
}
