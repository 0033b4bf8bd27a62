package lives

import (
	"fmt"
	"slices"
)

// MaxChannels bounds the number of records, which are kept for ever in the memory of all gateways. Half of it
// is divided among the apps, and the other half is for apps that need more, so that no app takes the part of
// another.
const MaxChannels = 65_536

// admits returns [ErrTooMany] if an app may have no further record.
func (l *Log) admits(app string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.byApp[app]; n >= l.shares().most(n) {
		return fmt.Errorf("%w, %d", ErrTooMany, n)
	}
	return nil
}

// shares are how the room is divided.
type shares struct {
	// due is the part of each app. left is what is left of the other half, below 0 if there were fewer apps
	// before.
	due, left int
}

// shares computes the division among all apps. The caller holds the lock.
func (l *Log) shares() shares {
	among := max(l.apps(), 1)
	s := shares{due: MaxChannels / (2 * among)}
	s.left = MaxChannels - s.due*among
	for _, n := range l.byApp {
		s.left -= max(n-s.due, 0)
	}
	return s
}

// most returns how many records an app may have that has n.
func (s shares) most(n int) int { return s.due + max(s.left+max(n-s.due, 0), 0) }

// Problems returns a sentence that names the apps that can purge and reset no further channels.
func (l *Log) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var full []string
	shares := l.shares()
	for app, n := range l.byApp {
		if n >= shares.most(n) {
			full = append(full, app)
		}
	}
	slices.Sort(full)
	switch len(full) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("app %s has purged or reset as many channels as it may, %d; further ones are refused", full[0], l.byApp[full[0]])}
	}
	return []string{fmt.Sprintf("app %s and %d more have purged or reset as many channels as they may; further ones are refused", full[0], len(full)-1)}
}
