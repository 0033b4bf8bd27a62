package broker

import (
	"strconv"
	"time"
)

// Position is a place in the log of a channel: everything up to and including Offset, within Epoch.
// Attaching, resuming, rewinding, history and delta numbers all use it. Offset 0 is the place before the
// first publication.
type Position struct {
	// Epoch identifies one continuous existence of the log. A log that was lost, reset, or restored to an
	// older state gets a new epoch. 1 to 64 bytes, `[A-Za-z0-9_-]`.
	Epoch string
	// Offset rises strictly within a channel and epoch, and may have gaps. It
	// stays below 2^53.
	Offset uint64
}

// Publication is an event with its place in the log. It is immutable: readers
// share it and its byte slices.
type Publication struct {
	Event
	Position
	// Prev is the offset of the previous publication of the same channel at the time of storing, 0 if there
	// was none. It is 0 in publications read from history.
	Prev uint64
	// Series distinguishes numberings if the log numbers channels of an app separately, so that publications
	// of two channels may have the same offset. It is empty if the log numbers all channels of an app
	// together. `[0-9a-z]`, 16 bytes at most.
	Series string
	// Time is when the log stored the publication, by the log's clock.
	Time time.Time
	// Skipped is the reason why the publication cannot be delivered to sockets (too large, not UTF-8, bad
	// name); empty for deliverable ones. A skipped publication keeps its place in the log and in history.
	// When it is set, Data is empty.
	// is set, Data is empty.
	Skipped string
	// Verdict is the decision of a [Counting] log for the full message interval.
	Verdict Verdict
}

// Verdict says whether a counted publication must be sent in full.
type Verdict uint8

const (
	// Uncounted: the log did not count the publication.
	Uncounted Verdict = iota
	// CountedFull: the publication is sent in full.
	CountedFull
	// CountedDelta: the publication may be sent as a delta.
	CountedDelta
)

// ID returns the publisher's message id, or one derived from the position. A derived id is the same for every
// reader, on every node and in every replay, and differs from the id of every other publication of the app.
// Clients recognize repeated publications by it, in any channel.
func (p *Publication) ID() string {
	switch {
	case p.MessageID != "":
		return p.MessageID
	case p.Series != "":
		return p.Epoch + "-" + p.Series + "-" + strconv.FormatUint(p.Offset, 10)
	}
	return p.Epoch + "-" + strconv.FormatUint(p.Offset, 10)
}

// Gap tells a reader that publications were missed and are no longer available. It is always delivered to the
// client and counted in a metric, never only logged.
type Gap struct {
	// After is the last position that the reader has seen.
	After Position
	// Resume is the position from which the feed continues: publications with an offset above Resume.Offset
	// follow. Its epoch differs from After's if the log began a new epoch.
	Resume Position
	// Reason is why the publications are gone.
	Reason GapReason
	// Empty is true if the log was seen to have no publication of the channel at or below Resume.
	Empty bool
}

// GapReason is the cause of a [Gap]. The values are label values of a metric.
type GapReason string

const (
	// GapEvicted: retention removed the missing publications.
	GapEvicted GapReason = "evicted"
	// GapEpoch: the log began a new epoch.
	GapEpoch GapReason = "epoch"
	// GapUnavailable: the log could not be read in time.
	GapUnavailable GapReason = "unavailable"
)

// Cacheable reports whether a cache channel remembers the publication. Client events and undeliverable
// publications are not remembered (protocol section 1.10).
func (p *Publication) Cacheable() bool { return p.Origin != OriginClient && p.Skipped == "" }
