package kv

import (
	"context"
	"time"
)

// Record is a value with its key.
type Record struct {
	Key string
	Entry
}

// Table is a set of keys that many processes write and follow: who is where, who
// lives, who has claimed what. One counter of revisions spans the whole table, so two
// records of different keys can be ordered. All methods are safe for use by many
// goroutines and return the errors of this package or the context's. Keys are as those
// of a [Store]; a pattern is a key in which `*` stands for one word between dots and
// a last `>` for one or more.
type Table interface {
	// Put writes a value, whatever was there, and returns its revision. The value
	// disappears after ttl, whole seconds, 0 for never. A write that failed with
	// [ErrUnavailable] may have been stored.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error)
	// Swap is Put for a key that must have the named revision, or, with revision
	// 0, must not exist; otherwise [ErrConflict].
	Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error)
	// Read returns the newest value of a key, never an older one, or
	// [ErrNotFound].
	Read(ctx context.Context, key string) (Entry, error)
	// List returns the records that match, in no order. It has what was written
	// before it was asked for, and of what is written meanwhile some. What was
	// removed a moment ago may be in it.
	List(ctx context.Context, pattern string) ([]Record, error)
	// Walk is List in pieces of a few hundred records, for patterns that match very
	// many. A record may come more than once, the newest last.
	Walk(ctx context.Context, pattern string, piece func([]Record)) error
	// Watch tells w of the writes that match from now on until stop is called.
	Watch(pattern string, w Watcher) (stop func(), err error)
	// Purge removes the records that match and have a revision up to through.
	// Watchers are not told.
	Purge(ctx context.Context, pattern string, through uint64) error
}

// Watcher follows records. Its methods are called by one goroutine at a time and must
// not block for long nor call the table.
type Watcher interface {
	// Changed is called for each write, those of one key in order. Writes may
	// be missed; expiry is not told.
	Changed(r Record)
	// Lost says that writes may have been missed.
	Lost()
}
