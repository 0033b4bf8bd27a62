// Package backlog keeps the recent publications of one channel, for subscriptions that are behind: those that
// resume, rewind, or begin with the newest event of every conflation value.
//
// A [Window] is the unbroken end of the channel in memory. [Pages] are older pieces of the log, read once for
// all subscriptions that are there. A [Backlog] is both: it returns what follows a place, or says what must
// be read first. [Latest] is the fold of the channel by conflation value. A place is an offset of the log.
//
// The package promises that what it returns is complete and in log order: everything between the given place
// and the returned one. It never reads, sends, waits or starts a goroutine. Nothing in it is safe for
// concurrent use: the owner has the lock. Items are shared and never changed.
package backlog

import "time"

// Item is a publication.
type Item interface {
	// Place returns its offset.
	Place() uint64
	// Stored returns when the log stored it, by the clock of the log.
	Stored() time.Time
	// Size returns about how many bytes it keeps in memory.
	Size() int
}

// Limits bound what is kept.
type Limits struct {
	// Items and Bytes bound the number of items and the sum of their sizes. An item that alone is larger than
	// Bytes is not kept.
	Items, Bytes int
}
