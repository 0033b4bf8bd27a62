package pusher_test

import (
	"slices"
	"testing"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestUS12Watchlists: null means no list, as libraries write an absent one.
func TestUS12Watchlists(t *testing.T) {
	for data, want := range map[string]struct {
		users []string
		bad   bool
	}{
		`{"id":"u"}`:                            {},
		`{"id":"u","watchlist":null}`:           {},
		`{"id":"u","watchlist":[]}`:             {},
		`{"id":"u","watchlist":["a","b","a"]}`:  {users: []string{"a", "b"}},
		`{"id":"u","watchlist":["a",null,"b"]}`: {users: []string{"a", "b"}, bad: true},
		`{"id":"u","watchlist":"a"}`:            {bad: true},
		`{"id":"u","watchlist":{"a":1}}`:        {bad: true},
	} {
		users, more, bad := pusher.Watchlist(data)
		if !slices.Equal(users, want.users) || more || (bad != nil) != want.bad {
			t.Errorf("%s: %v %t %v", data, users, more, bad)
		}
	}
}
