package memory

import (
	"bytes"
	"strings"

	"github.com/sluicehq/sluice/broker"
)

// entryOverhead is the assumed cost of a publication beside its text: the entry itself, its place in the
// channel's ring, and its share of the channel's state.
const entryOverhead = 512

// entry is a publication in the log. It is linked into the list of its app,
// which is in the order of storing, and sits in the ring of its channel.
type entry struct {
	pub  broker.Publication
	size int64
	// dedup identifies the event in the duplicate window; set if hasDedup.
	dedup    dedupKey
	hasDedup bool

	// Guarded by the lock of the app. They are cleared when the entry leaves the log, so that a retained
	// pointer to a publication keeps nothing else alive.
	channel    *channel
	prev, next *entry

	// name is the name of the channel, needed only until the entry is stored.
	name string
}

// newEntry copies an event. The copy owns all its bytes.
func newEntry(out broker.Outgoing) *entry {
	ev := out.Event
	e := &entry{name: out.Channel, size: int64(eventBytes(ev)) + entryOverhead}
	e.pub.Event = broker.Event{
		Name:          strings.Clone(ev.Name),
		Data:          bytes.Clone(ev.Data),
		UserID:        strings.Clone(ev.UserID),
		Tags:          cloneTags(ev.Tags),
		Delta:         ev.Delta,
		ConflationKey: strings.Clone(ev.ConflationKey),
		HasKey:        ev.HasKey,
		ExcludeSocket: strings.Clone(ev.ExcludeSocket),
		MessageID:     strings.Clone(ev.MessageID),
		DedupID:       strings.Clone(ev.DedupID),
		Extras:        bytes.Clone(ev.Extras),
		Origin:        ev.Origin,
		Node:          strings.Clone(ev.Node),
	}
	if ev.DedupID != "" {
		e.dedup, e.hasDedup = newDedupKey(ev.DedupID), true
	}
	return e
}

func cloneTags(tags map[string]string) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	c := make(map[string]string, len(tags))
	for k, v := range tags {
		c[strings.Clone(k)] = strings.Clone(v)
	}
	return c
}

// eventBytes returns the size of an event as the limits count it.
func eventBytes(ev *broker.Event) int {
	return ev.Bytes() + len(ev.Name) + len(ev.UserID) + len(ev.ConflationKey) + len(ev.ExcludeSocket) +
		len(ev.MessageID) + len(ev.DedupID) + len(ev.Node)
}
