package app

import "time"

// Reading bounds what can be read of the history of a channel, below what the log
// keeps. Zero is no bound.
type Reading struct {
	// Off means that there is no history to be read.
	Off bool
	// Messages is how many of the newest events can be read, 1000 at most.
	Messages int
	// Age is how old an event may be.
	Age time.Duration
}

// ReadingPattern is one entry of channel_history. Match may contain one `*`.
type ReadingPattern struct {
	Match string
	Reading
}

// Readings are the bounds of an app by channel; nil has none.
type Readings struct{ patterns []ReadingPattern }

// NewReadings returns bounds with these entries, which the caller gives away.
func NewReadings(patterns []ReadingPattern) *Readings { return &Readings{patterns} }

// Of returns the bounds of a channel. Which entry counts is decided as for
// [App.ChannelDelta].
func (r *Readings) Of(channel string) Reading {
	if r == nil {
		return Reading{}
	}
	i := choose(len(r.patterns), func(i int) string { return r.patterns[i].Match }, channel)
	if i < 0 {
		return Reading{}
	}
	return r.patterns[i].Reading
}
