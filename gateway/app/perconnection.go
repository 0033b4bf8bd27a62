package app

import "cmp"

// PerConnection are the limits of one connection, for all apps.
type PerConnection struct {
	// Filters enables filters by event name and tags; otherwise filters are checked and ignored.
	Filters bool
	// MaxFilterBytes bounds the memory of the filters of one connection, default 256 KiB.
	MaxFilterBytes int
	// MaxSubscriptions bounds the channels of one connection, default 1000.
	MaxSubscriptions int
	// MaxDeltaChannels bounds the channels of one connection that hold bases, default 100. Beyond it, the least
	// recently used channel starts again with full frames.
	MaxDeltaChannels int
	// MessageRate is how many frames a connection may send per second, without client events, and
	// SubscriptionRate how often it may subscribe, unsubscribe or sign in; 0 means no limit. The burst of both
	// is MaxSubscriptions. What exceeds the rate is read later.
	MessageRate, SubscriptionRate int
}

// WithDefaults returns a copy with defaults in place of zeros.
func (l PerConnection) WithDefaults() *PerConnection {
	l.MaxSubscriptions = cmp.Or(l.MaxSubscriptions, 1000)
	l.MaxFilterBytes = cmp.Or(l.MaxFilterBytes, 256<<10)
	l.MaxDeltaChannels = cmp.Or(l.MaxDeltaChannels, 100)
	return &l
}
