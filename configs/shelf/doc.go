// Package shelf keeps apps in the table of cluster state, beside those of the configuration.
//
// An app is a record of the table that is only ever replaced: of one that was removed there stays a
// note that it was, because a store that recovers may have forgotten that a record was superseded.
// What an app is stands in a record sealed ([Keys]), bound to its id. [Shelf] reads and writes
// records, with compare-and-set, and [Follower] knows what they are now: it is told of writes, and
// reads all of them again from time to time, so that no write is missed for long.
//
// The package knows nothing of what is in an app: it is a text that somebody else checks.
package shelf
