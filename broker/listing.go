package broker

import (
	"context"
	"slices"
	"strings"
)

// Listing is a [History] that knows of which channels it has something.
type Listing interface {
	// Channels returns the channels whose names begin with a prefix and of which
	// publications are retained, in byte order. What is published or removed
	// meanwhile may be missing. It looks at all channels of the app, so it is for
	// operators, and those who ask for an app at a time share the answer (see [Rounds]):
	// nobody may change it. Errors: those of Read.
	Channels(ctx context.Context, app, prefix string) ([]string, error)
}

// Beginning returns the part of names in byte order that begin with a prefix. It shares their
// memory, and is nil if there are none.
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
