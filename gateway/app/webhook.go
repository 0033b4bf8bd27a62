package app

import (
	"slices"
	"strings"
	"time"
)

// Webhook is an address that is told of events in channels.
type Webhook struct {
	URL string
	// Events are the names of the events to send; none means all.
	Events []string
	// Prefix and Suffix select the channels by name.
	Prefix, Suffix string
	// Headers are added to each request. Their values may be secrets.
	Headers map[string]Secret
	// Batch sends events that occur within BatchTime together, at most BatchSize.
	Batch     bool
	BatchTime time.Duration
	BatchSize int
}

// Wants reports whether an event of a channel is sent. With an empty channel, it reports whether the event of
// any channel could be.
func (w *Webhook) Wants(event, channel string) bool {
	if len(w.Events) > 0 && !slices.Contains(w.Events, event) {
		return false
	}
	return channel == "" || strings.HasPrefix(channel, w.Prefix) && strings.HasSuffix(channel, w.Suffix)
}
