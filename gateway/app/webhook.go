package app

import (
	"slices"
	"strings"
	"time"
)

// Webhook is an address that wants to know what happens in channels.
type Webhook struct {
	URL string
	// Events are the names of those that are sent; none means all.
	Events []string
	// Prefix and Suffix are of the channels that are of interest.
	Prefix, Suffix string
	// Headers are added to each request. Their values may be secrets.
	Headers map[string]Secret
	// Batch sends what comes within BatchTime, up to BatchSize events, together.
	Batch     bool
	BatchTime time.Duration
	BatchSize int
}

// Wants says whether an event of a channel is sent. An empty channel asks whether any
// could be.
func (w *Webhook) Wants(event, channel string) bool {
	if len(w.Events) > 0 && !slices.Contains(w.Events, event) {
		return false
	}
	return channel == "" || strings.HasPrefix(channel, w.Prefix) && strings.HasSuffix(channel, w.Suffix)
}
