package broker

import (
	"context"
	"time"
)

// Outgoing is one event to publish to one channel.
type Outgoing struct {
	Channel string
	Event   *Event
	// Count asks a [Counting] log to count the event. Other logs ignore it.
	Count Count
}

// Count says how an event is counted for the full message interval.
type Count struct {
	// Interval is N: one of N events with the same value is sent in full. 0 leaves the event uncounted.
	Interval int
	// Value is the conflation value, at most a kilobyte.
	Value string
	// MaxValues bounds the number of values remembered per channel.
	MaxValues int
}

// Counting is a [Log] that counts events when it stores them, so that the verdict travels with each
// publication and all readers agree. It includes the optional interfaces, so that a wrapper hides none of
// them.
type Counting interface {
	Log
	Eraser
	Listing
	Ranking
	// Counts reports whether the log counts events.
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

// Caster delivers events to the present subscribers without storing them.
type Caster interface {
	// Cast gives the events to every [Listener] that is attached to their channels on any node. Events of one
	// call and channel arrive in the given order, each at most once. Nothing is stored, counted or repaired:
	// an event that is lost on its way leaves no trace. Each event needs a MessageID; its DedupID is ignored.
	// A nil error means that the events are on their way; after an error, some may be. Errors: those of
	// [Publisher.Publish], and a [Refused] that names a missing permission. Safe for concurrent use; the
	// events are not modified.
	Cast(ctx context.Context, app string, events ...Outgoing) error
}

// Listener is a [Sink] that also receives cast events.
type Listener interface {
	Sink
	// Heard delivers an event that is not stored in the log: Offset is 0, and Epoch is empty. One
	// goroutine calls it at a time, but other methods of the sink may run concurrently. e is shared
	// and immutable.
	Heard(e *Publication)
}

// Sink receives the live publications of one channel. A feed calls it from one
// goroutine at a time, in log order, each publication once. A sink must not
// block for long and must not call the feed.
type Sink interface {
	// Publication delivers the next one. p is shared and immutable.
	Publication(p *Publication)
	// Gap reports that publications are lost for good.
	Gap(g Gap)
}

// Prompt is an optional interface of a [Sink]. Prompt reports whether the sink would take the next
// publication without blocking. If all sinks of a channel would, the feed delivers from the goroutine that
// reads and wakes no other. Prompt is safe for concurrent use and does not block.
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

// Emptiness is an optional interface of an [Attachment]. Empty reports that the log was seen to have no
// publication of the channel at or below Position, so its history need not be read. A replica that lags may
// have answered; a caller that must not miss anything reads the history.
type Emptiness interface{ Empty() bool }

// Feed delivers live publications.
type Feed interface {
	// Attach subscribes to one channel. The sink may be called before Attach
	// returns. Errors: [ErrUnknownApp], [ErrUnavailable], or the context's.
	Attach(ctx context.Context, app, channel string, sink Sink) (Attachment, error)
}

// PageBytes is about how many bytes a page may have, by [Event.Bytes]: a page ends early, with More set,
// where a further publication would exceed it by far. At least one publication is always returned.
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
	// CountFrom returns how many retained publications of a channel have at least this offset. A
	// replica that lags a moment may answer. Errors: those of Read.
	CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error)
}

// Erased reports what was removed.
type Erased struct {
	// Messages is the number of removed publications, Bytes the approximate size of their data.
	Messages, Bytes uint64
}

// Eraser is a [Log] that removes publications on request.
type Eraser interface {
	// Purge removes the publications of a channel whose offsets are below before; 0 removes all that are
	// retained at the time of the call. The epoch stays and offsets continue to rise. For readers it is as if
	// retention had removed them: reading after a position below a removed publication gives
	// [ErrPositionExpired]. Attachments are not told and continue; one that lags gets only what remains.
	// After an error some publications may have been removed, and the call may be repeated. Errors:
	// [ErrUnknownApp], a [Refused] that names a missing permission, [ErrUnavailable], or the context's.
	Purge(ctx context.Context, app, channel string, before uint64) (Erased, error)
}

// ErasedOf estimates the result for a log that knows only the number of removed publications. oldest holds
// some of them, read before the removal; the others are taken to be as large on average.
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
	// After returns up to limit publications after pos, oldest first; fewer if they reach [PageBytes]. It
	// returns them only if it is proven that none of the channel is missing between pos and the first one.
	// Errors besides those of Read: [ErrEpochChanged], [ErrPositionExpired], [ErrPositionUnknown] (above the
	// newest).
	After(ctx context.Context, app, channel string, pos Position, limit int) (*Page, error)
	// Retained returns the range of the channel that the log retains.
	Retained(ctx context.Context, app, channel string) (Retained, error)
	// Lost reports whether publications of the channel that were stored at or after since (at any time for
	// the zero time) are known to be gone: the channel is at its limit, was purged, or since lies before the
	// retention age. Unlike [History.After] it proves nothing: false may mean that the log does not know.
	// Errors: those of Read.
	Lost(ctx context.Context, app, channel string, since time.Time) (bool, error)
}

// Health is the state of a backend at a moment.
type Health struct {
	// Ready is true when publishing and attaching are expected to work for at least one app.
	Ready bool
	// Backend is "memory", "jetstream" or "redis".
	Backend string
	// Durability says in one sentence where an event is when it is acknowledged, and what loses it.
	// Level is the same in one word.
	Durability string
	Level      Level
	// Problems lists what is wrong, in sentences, most serious first.
	Problems []string
}

// Level says in one word what an acknowledged event survives.
type Level string

// Levels, weakest first.
const (
	// LevelNone: the event is lost with the process that keeps it.
	LevelNone Level = "none"
	// LevelSeconds: the events of the last seconds may be lost with the process that keeps them.
	LevelSeconds Level = "seconds"
	// LevelProcess survives the end of any process, LevelMachine also a crash of the machine, LevelReplicated
	// also the loss of a disk.
	LevelProcess    Level = "process"
	LevelMachine    Level = "machine"
	LevelReplicated Level = "replicated"
	// LevelUnknown is the level of a server that does not report it.
	LevelUnknown Level = "unknown"
)

// Log is a complete backend.
type Log interface {
	Publisher
	Caster
	Feed
	History
	// Health may be called at any time from any goroutine and does no I/O.
	Health() Health
	// Now returns the time by the clock that stamps publications, as far as this process knows it. Ages of
	// publications are measured with it. It does no I/O.
	Now() time.Time
	// Close ends all attachments and releases all resources. Idempotent.
	Close() error
}
