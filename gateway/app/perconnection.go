package app

import "cmp"

// PerConnection is what one connection may ask for, of all apps.
type PerConnection struct {
	// Filters lets subscriptions have filters by event names and tags; otherwise
	// filters are checked and ignored.
	Filters bool
	// MaxFilterBytes bounds the memory of the filters of one connection, default
	// 256 KiB.
	MaxFilterBytes int
	// MaxSubscriptions bounds the channels of one connection, default 1000.
	MaxSubscriptions int
	// MaxDeltaChannels bounds the channels of one connection that hold bases,
	// default 100. Beyond it the least recently used one starts again in full.
	MaxDeltaChannels int
	// MessageRate is how many frames a connection may send in a second, besides
	// client events, and SubscriptionRate how often it may subscribe, unsubscribe or
	// sign in; 0 is no bound. Each may be exceeded once by MaxSubscriptions. What
	// comes faster is read later.
	MessageRate, SubscriptionRate int
}

// WithDefaults has the defaults in the place of zeros.
func (l PerConnection) WithDefaults() *PerConnection {
	l.MaxSubscriptions = cmp.Or(l.MaxSubscriptions, 1000)
	l.MaxFilterBytes = cmp.Or(l.MaxFilterBytes, 256<<10)
	l.MaxDeltaChannels = cmp.Or(l.MaxDeltaChannels, 100)
	return &l
}
