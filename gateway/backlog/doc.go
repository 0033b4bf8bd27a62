// Package backlog keeps what was published lately in one channel, for sockets that are
// behind: those that resume, rewind, or want the newest event of every conflation value.
//
// A [Window] is the unbroken end of the channel in memory. [Pages] are pieces of the log
// further back, read once for all who are behind there. A [Backlog] is both: it says what
// comes after a place, or what has to be read first. [Latest] is the fold of the channel
// by conflation value.
//
// It promises that what it hands out is complete and in the order of the log: everything
// between the place that was asked about and the place that is returned. It never reads,
// sends, waits or starts a goroutine, and nothing in it is safe for use by several
// goroutines at a time; its owner has the lock. Items are shared and never changed.
package backlog

import "time"

// Item is a publication as it is sent.
type Item interface {
	// Place is its offset.
	Place() uint64
	// Stored is when the log took it, by the clock of the log.
	Stored() time.Time
	// Size is about how many bytes it keeps in memory.
	Size() int
}

// Limits bound what is kept.
type Limits struct {
	// Items and Bytes are the largest number of items and the largest sum of their sizes.
	// An item that is larger than Bytes alone is not kept.
	Items, Bytes int
}
