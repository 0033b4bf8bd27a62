package broker

import (
	"context"
	"time"
)

// Outgoing is one event on its way to one channel.
type Outgoing struct {
	Channel string
	Event   *Event
	// Count asks a [Counting] log to count the event. Others ignore it.
	Count Count
}

// Count says how an event is counted for the full message interval.
type Count struct {
	// Interval is N: of N events of a value one goes out in full. 0 leaves the
	// event uncounted.
	Interval int
	// Value is the conflation value, at most a kilobyte.
	Value string
	// MaxValues bounds the values that are remembered per channel.
	MaxValues int
}

// Counting is a [Log] that counts events when it stores them, so that the verdict
// travels with each publication and all readers agree. It can do everything else as
// well, so that whoever stands in front of one hides nothing of it.
type Counting interface {
	Log
	Eraser
	Listing
	Ranking
	// Counts reports whether it does.
	Counts() bool
}

// Receipt is the log's answer to a publish.
type Receipt struct {
	Position
	// Duplicate is true when an event with the same DedupID was stored before;
	// Position is then that event's.
	Duplicate bool
}

// Publisher appends events to the log of an app.
type Publisher interface {
	// Publish stores the events, those of each channel in the given order, and
	// returns a receipt for each, in the same order, once all of them are stored
	// at the durability level of the log. It retries within ctx where a retry
	// cannot store twice. After an error an unknown prefix of the events of each
	// channel may have been stored; where the log stores several events as a whole
	// (docs/reliability.md), all of them or none. Errors: [ErrUnknownApp], [ErrTooLarge], [ErrUnavailable], or the
	// context's. Safe for use by many goroutines; the events are not modified
	// and not kept.
	Publish(ctx context.Context, app string, events ...Outgoing) ([]Receipt, error)
}

// Caster gives events to those who are there, and keeps nothing of them.
type Caster interface {
	// Cast gives the events to every sink that is attached to their channels on any node and
	// is a [Listener]; those of one call and channel in the given order, each at most once.
	// Nothing is stored, counted or repaired: what is lost on its way is missed without a word.
	// Events need a MessageID, and their DedupID is not looked at. Without an error they are on
	// their way; after one, some may be. Errors: those of [Publisher.Publish], and a [Refused]
	// that names a permission which is missing. Safe for use by many goroutines; the events
	// are not modified.
	Cast(ctx context.Context, app string, events ...Outgoing) error
}

// Listener is a [Sink] that also gets what is cast.
type Listener interface {
	Sink
	// Heard delivers an event that has no place in the log: Offset is 0, and Epoch empty. It is
	// called by one goroutine at a time, but perhaps while another call of the sink is in
	// progress. e is shared and immutable.
	Heard(e *Publication)
}

// Sink receives the live publications of one channel. A feed calls it from one
// goroutine at a time, in log order, each publication once. A sink must not
// block for long and must not call the feed.
type Sink interface {
	// Publication delivers the next one. p is shared and immutable.
	Publication(p *Publication)
	// Gap tells that publications are missing for good.
	Gap(g Gap)
}

// Prompt is what sinks may know beside: whether they would take what comes next without waiting
// for anybody. A feed gives it to them from where it reads then, and wakes nobody else. It is
// asked by any goroutine and does not wait.
type Prompt interface{ Prompt() bool }

// Attachment is a live subscription of one channel.
type Attachment interface {
	// Position is the exact place at which the attachment began: the sink gets
	// every publication above it and none at or below it.
	Position() Position
	// Detach ends the attachment. A call of the sink that is in progress may
	// still run when it returns, but none begins afterwards. Idempotent.
	Detach()
}

// Emptiness is what attachments may know beside: that no publication of the channel at or
// below the position was found in the log, so that its past need not be read. A replica that is
// behind may have said so; where the past must not be missed, read it.
type Emptiness interface{ Empty() bool }

// Feed gives live publications.
type Feed interface {
	// Attach subscribes to one channel. The sink may be called before Attach
	// returns. Errors: [ErrUnknownApp], [ErrUnavailable], or the context's.
	Attach(ctx context.Context, app, channel string, sink Sink) (Attachment, error)
}

// PageBytes is about how many bytes a page may have, see [Event.Bytes]: one ends before its limit, with
// More, where a further publication would take it far beyond that. One is always returned.
const PageBytes = 8 << 20

// Retained describes what the log still holds of one channel.
type Retained struct {
	// Epoch is the present life of the log.
	Epoch string
	// Oldest and Newest are offsets, 0 when nothing is retained.
	Oldest, Newest         uint64
	OldestTime, NewestTime time.Time
	// Messages is the number of retained publications.
	Messages uint64
}

// Page is a bounded part of a channel's history.
type Page struct {
	// Publications are in the order asked for.
	Publications []*Publication
	// More is true when further publications match beyond the last one.
	More bool
	// Retained is the state of the channel at about the time of reading.
	Retained Retained
}

// Ranking is a [History] that counts without reading.
type Ranking interface {
	// CountFrom returns how many publications of a channel the log has from an offset
	// on. A copy of the log that is a moment behind may answer. Errors: those of Read.
	CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error)
}

// Erased says what was removed.
type Erased struct {
	// Messages is how many publications there were, and Bytes about how much data they had.
	Messages, Bytes uint64
}

// Eraser is a [Log] that removes publications when it is told to.
type Eraser interface {
	// Purge removes the publications of a channel whose offsets are below before, 0 for
	// all that are there when it is asked. The epoch stays and offsets go on rising. For
	// readers it is as if retention had removed them: after a position below which
	// something is gone [ErrPositionExpired]. Attachments are not told, and get what
	// comes; one that is behind gets what retention would have left it. After an error some of them may have been removed; it may be repeated.
	// Errors: [ErrUnknownApp], a [Refused] that names a permission which is missing,
	// [ErrUnavailable], or the context's.
	Purge(ctx context.Context, app, channel string, before uint64) (Erased, error)
}

// ErasedOf is what a log has removed that knows only the number: the data of the oldest ones
// was read before, and the others are taken to be as large on average.
func ErasedOf(messages uint64, oldest []*Publication) Erased {
	e := Erased{Messages: messages}
	for _, p := range oldest {
		e.Bytes += uint64(len(p.Data))
	}
	if n := uint64(len(oldest)); n > 0 {
		e.Bytes = uint64(float64(e.Bytes) / float64(n) * float64(messages))
	}
	return e
}

// History reads the log of a channel. Reading never blocks the live path.
type History interface {
	// Read returns the publications that q selects. It never returns a short
	// page silently: an answer that could not be completed is an error.
	// Errors: [ErrUnknownApp], [ErrInvalidQuery], [ErrUnavailable], or the
	// context's.
	Read(ctx context.Context, app, channel string, q Query) (*Page, error)
	// After returns up to limit publications after pos, oldest first, less where they have
	// [PageBytes] together, and only
	// if it is proven that none of the channel is missing between pos and the
	// first one returned. Errors besides those of Read: [ErrEpochChanged],
	// [ErrPositionExpired], [ErrPositionUnknown] (above the newest).
	After(ctx context.Context, app, channel string, pos Position, limit int) (*Page, error)
	// Retained returns what the log still holds of the channel.
	Retained(ctx context.Context, app, channel string) (Retained, error)
	// Lost tells whether publications of the channel that were stored at a time or later, or
	// ever for the zero time, are known to be gone: the channel is at its limit, was purged, or
	// the time lies before everything that is kept for its age. It proves nothing, as [History.After]
	// does: what a log does not know, it does not tell. Errors: those of Read.
	Lost(ctx context.Context, app, channel string, since time.Time) (bool, error)
}

// Health is the state of a backend at one moment.
type Health struct {
	// Ready is true when publishing and attaching are expected to work for at least
	// one app.
	Ready bool
	// Backend names it: "memory", "jetstream", "redis".
	Backend string
	// Durability is the level in force in one sentence: where an acknowledged
	// event is when it is acknowledged, and what loses it. Level is it in a word.
	Durability string
	Level      Level
	// Problems lists what is wrong, in sentences, most serious first.
	Problems []string
}

// Level is what an acknowledged event survives, in a word.
type Level string

// Levels, from what is lost first.
const (
	// LevelNone loses it with the process that keeps it.
	LevelNone Level = "none"
	// LevelSeconds may lose the last seconds with the process that keeps them.
	LevelSeconds Level = "seconds"
	// LevelProcess survives the end of any process, LevelMachine a crash of the machine as well,
	// LevelReplicated also the loss of a disk.
	LevelProcess    Level = "process"
	LevelMachine    Level = "machine"
	LevelReplicated Level = "replicated"
	// LevelUnknown is that of a server that does not tell.
	LevelUnknown Level = "unknown"
)

// Log is a whole backend.
type Log interface {
	Publisher
	Caster
	Feed
	History
	// Health may be called at any time from any goroutine and does no I/O.
	Health() Health
	// Now is the time by the clock that gives publications their times, as far as
	// this process knows. Ages of publications go by it. It does no I/O.
	Now() time.Time
	// Close ends all attachments and releases everything. Idempotent.
	Close() error
}
