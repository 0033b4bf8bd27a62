package presence

import (
	"maps"
	"testing"
)

// TestMembersAreCountedWhileThereAreSome: no count is kept of an app without members.
func TestMembersAreCountedWhileThereAreSome(t *testing.T) {
	var c counters
	for range 2 {
		for _, app := range []string{"a", "b", "c"} {
			c.member(app, 1)
		}
	}
	for _, app := range []string{"a", "b", "a"} {
		c.member(app, -1)
	}
	if got, want := c.members, map[string]int{"b": 1, "c": 2}; !maps.Equal(got, want) {
		t.Errorf("the members are %v, want %v", got, want)
	}
}
