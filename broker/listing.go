package broker

import (
	"context"
	"slices"
	"strings"
)

// Listing is a [History] that can list the channels with retained publications.
type Listing interface {
	// Channels returns, in byte order, the channels with retained publications whose names begin with prefix.
	// Channels published to or emptied meanwhile may be missing. It looks at all channels of the app, so it
	// is meant for operators. Concurrent callers for an app share the result (see [Rounds]) and must not
	// change it. Errors: those of Read.
	Channels(ctx context.Context, app, prefix string) ([]string, error)
}

// Beginning returns the names that begin with prefix; names must be in byte order. The result shares the
// memory of names, and is nil if there are none.
func Beginning(names []string, prefix string) []string {
	from, _ := slices.BinarySearch(names, prefix)
	n, _ := slices.BinarySearchFunc(names[from:], prefix, func(name, prefix string) int {
		if strings.HasPrefix(name, prefix) {
			return -1
		}
		return 1
	})
	if n == 0 {
		return nil
	}
	return names[from : from+n : from+n]
}
