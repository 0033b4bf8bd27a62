package lives

import (
	"fmt"
	"maps"
	"slices"
)

// MaxChannels bounds the channels of which something is remembered for ever, since all
// gateways keep that in memory. Half of it is divided among the apps, and the rest is for those
// that need more, so that no app takes what another one is due.
const MaxChannels = 65_536

// admits returns [ErrTooMany] if no further channel of an app may be remembered.
func (l *Log) admits(app string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, most := l.room(app); n >= most {
		return fmt.Errorf("%w, %d", ErrTooMany, n)
	}
	return nil
}

// room is how many channels of an app are remembered, and how many may be. The caller holds the
// lock.
func (l *Log) room(app string) (n, most int) {
	among := max(l.apps(), 1)
	due := MaxChannels / (2 * among)
	left := MaxChannels - due*among
	for other, n := range l.byApp {
		if other != app {
			left -= max(n-due, 0)
		}
	}
	return l.byApp[app], due + max(left, 0)
}

// Problems tells in a sentence which apps can purge and reset no further channels.
func (l *Log) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var full []string
	for _, app := range slices.Sorted(maps.Keys(l.byApp)) {
		if n, most := l.room(app); n >= most {
			full = append(full, app)
		}
	}
	switch len(full) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("app %s has purged or reset as many channels as it may, %d; further ones are refused", full[0], l.byApp[full[0]])}
	}
	return []string{fmt.Sprintf("app %s and %d more have purged or reset as many channels as they may; further ones are refused", full[0], len(full)-1)}
}
