package kv

import (
	"context"
	"errors"
	"time"
)

// What callers branch on. Stores wrap these with what they know.
var (
	// ErrNotFound: there is no value under the key, as far as the reader knows.
	ErrNotFound = errors.New("key not found")
	// ErrConflict: the key has another revision than the write named, or
	// exists when it should be created, or is gone when it should be updated.
	// Nothing was written.
	ErrConflict = errors.New("key has another revision")
	// ErrUnavailable: the store cannot be reached or has no quorum. A write may
	// or may not have been stored.
	ErrUnavailable = errors.New("key-value store unavailable")
	// ErrInvalidKey: the key is empty, too long, or holds bytes that need
	// encoding.
	ErrInvalidKey = errors.New("invalid key")
	// ErrTooLarge: the value exceeds what the bucket stores.
	ErrTooLarge = errors.New("value too large")
)

// MaxKeyBytes is the largest length of a key, encoded.
const MaxKeyBytes = 2048

// Entry is a value with its revision.
type Entry struct {
	// Value belongs to the caller.
	Value []byte
	// Revision rises with each write to the bucket.
	Revision uint64
	// Time is when the store took the value.
	Time time.Time
}

// Store is one bucket of keys. All methods are safe for use by many goroutines,
// keep nothing of the values they are given, and return one of the errors above
// or the context's. Keys hold `A-Z a-z 0-9 - _ / = .`, with no `.` first, last
// or next to another.
type Store interface {
	// Get returns the value of a key, or [ErrNotFound]. Either may be out of
	// date for a moment after a write.
	Get(ctx context.Context, key string) (Entry, error)
	// Create writes the value of a key that must not exist, and returns its
	// revision; [ErrConflict] if it does.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update replaces the value of which the revision is named, and returns
	// the new revision; [ErrConflict] if the key has another one, was deleted
	// or has expired. It starts the time to live anew. The revision is not 0.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key if it has the named revision, or whatever it has if
	// that is 0. Removing a key that does not exist is no error.
	Delete(ctx context.Context, key string, revision uint64) error
}

// validKey reports whether a key may be used as it is.
func validKey(key string) bool {
	if key == "" || len(key) > MaxKeyBytes || key[0] == '.' || key[len(key)-1] == '.' {
		return false
	}
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '/', c == '=':
		case c == '.' && key[i-1] != '.':
		default:
			return false
		}
	}
	return true
}
