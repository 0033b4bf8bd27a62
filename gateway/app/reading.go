package app

import "time"

// Reading limits how much of the history of a channel can be read, in addition to the retention of the log. Zero
// values mean no limit.
type Reading struct {
	// Off disables reading.
	Off bool
	// Messages is how many of the newest events can be read, at most 1000.
	Messages int
	// Age is the maximum age of events that can be read.
	Age time.Duration
}

// ReadingPattern is one entry of channel_history. Match may contain one `*`.
type ReadingPattern struct {
	Match string
	Reading
}

// Readings are the limits of an app by channel; nil has none.
type Readings struct{ patterns []ReadingPattern }

// NewReadings returns Readings with these entries. It takes ownership of the slice.
func NewReadings(patterns []ReadingPattern) *Readings { return &Readings{patterns} }

// Of returns the limits of a channel. The entry is selected as for [App.ChannelDelta].
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
