package broker

import (
	"strconv"
	"time"
)

// Position is a place in the log of a channel: everything up to and including
// Offset, in the life of the log named Epoch. It is the one currency of
// attaching, resuming, rewinding, history and delta numbers. Offset 0 is the
// place before the first publication.
type Position struct {
	// Epoch names one unbroken life of the log. A log that was lost, restored
	// to an older state or reset gets a new one. 1 to 64 bytes, `[A-Za-z0-9_-]`.
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
	// Prev is the offset of the previous publication of the same channel at
	// the time of storing, 0 if there was none. Publications read from
	// history do not know it and have 0.
	Prev uint64
	// Series names the numbering that Offset is part of, where channels of an app are
	// numbered apart, so that one offset may be that of several publications. It is empty
	// where a log numbers all channels of an app together. `[0-9a-z]`, 16 bytes at most.
	Series string
	// Time is when the log stored the publication.
	Time time.Time
	// Skipped is the reason why the publication cannot be delivered to
	// sockets (too large, not UTF-8, bad name); empty for deliverable ones.
	// A skipped publication keeps its place in the log and in history. When it
	// is set, Data is empty.
	Skipped string
	// Verdict is what a [Counting] log says about the full message interval.
	Verdict Verdict
}

// Verdict says whether a publication goes out in full by the count of the log.
type Verdict uint8

const (
	// Uncounted: the log did not count it.
	Uncounted Verdict = iota
	// CountedFull: it goes out in full.
	CountedFull
	// CountedDelta: it may go out as a delta.
	CountedDelta
)

// ID is the message id: the publisher's, or one that is derived from the
// position, so that it is the same for every reader, on every node and on every
// replay, and differs from that of every other publication of the app: clients know
// repeats by it, whatever the channel.
func (p *Publication) ID() string {
	switch {
	case p.MessageID != "":
		return p.MessageID
	case p.Series != "":
		return p.Epoch + "-" + p.Series + "-" + strconv.FormatUint(p.Offset, 10)
	}
	return p.Epoch + "-" + strconv.FormatUint(p.Offset, 10)
}

// Gap tells a reader that publications were missed and cannot be had any more.
// It is a value that travels to the client and to a metric, never only a log
// line.
type Gap struct {
	// After is the last position that the reader has seen.
	After Position
	// Resume is the position from which the feed continues: publications with
	// an offset above Resume.Offset follow. Its epoch differs from After's
	// when the log began a new life.
	Resume Position
	// Reason is why.
	Reason GapReason
	// Empty says that the log was seen to have no publication of the channel at or below Resume.
	Empty bool
}

// GapReason says why a [Gap] came to be. The values are label values of a metric.
type GapReason string

const (
	// GapEvicted: retention removed the missing publications.
	GapEvicted GapReason = "evicted"
	// GapEpoch: the log began a new life.
	GapEpoch GapReason = "epoch"
	// GapUnavailable: the log could not be read in time.
	GapUnavailable GapReason = "unavailable"
)

// Cacheable says whether a cache channel remembers it: not what clients send, nor what cannot be delivered
// (protocol section 1.10).
func (p *Publication) Cacheable() bool { return p.Origin != OriginClient && p.Skipped == "" }
