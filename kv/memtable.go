package kv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// MemoryTable is a [Table] in the memory of this process: the reference for the
// others, and the one of a server that stands alone. It knows no outage.
type MemoryTable struct {
	now func() time.Time

	mu       rank.Mutex[rank.MemoryTable]
	revision uint64
	records  map[string]memoryRecord
	// watches are found by the stem of their pattern: each write asks which of them match.
	watches map[string][]*memoryWatch

	// telling keeps the order of writes among those who are told of them.
	telling rank.Mutex[rank.TableTelling]
}

type memoryRecord struct {
	Entry
	expires time.Time // zero for never
}

type memoryWatch struct {
	pattern string
	w       Watcher
	stopped bool
}

var _ Table = (*MemoryTable)(nil)

// NewMemoryTable returns an empty table. now is its clock, nil for time.Now.
func NewMemoryTable(now func() time.Time) *MemoryTable {
	if now == nil {
		now = time.Now
	}
	return &MemoryTable{now: now, records: map[string]memoryRecord{}, watches: map[string][]*memoryWatch{}}
}

// Put implements [Table].
func (t *MemoryTable) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	return t.write(ctx, key, value, ttl, nil)
}

// Swap implements [Table].
func (t *MemoryTable) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	return t.write(ctx, key, value, ttl, &revision)
}

func (t *MemoryTable) write(ctx context.Context, key string, value []byte, ttl time.Duration, expected *uint64) (uint64, error) {
	if !validKey(key) {
		return 0, fmt.Errorf("put %.80q: %w", key, ErrInvalidKey)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t.telling.Lock()
	defer t.telling.Unlock()
	t.mu.Lock()
	now := t.now()
	old := t.live(key, now)
	if expected != nil && old.Revision != *expected {
		t.mu.Unlock()
		return 0, fmt.Errorf("put %s: %w", key, ErrConflict)
	}
	t.tidy(now)
	t.revision++
	r := memoryRecord{Entry: Entry{Value: slices.Clone(value), Revision: t.revision, Time: now}}
	if ttl > 0 {
		r.expires = now.Add(ttl)
	}
	t.records[key] = r
	watches := t.watching(key)
	t.mu.Unlock()
	for _, w := range watches {
		if Matches(w.pattern, key) && !t.stopped(w) {
			w.w.Changed(Record{Key: key, Entry: r.Entry})
		}
	}
	return r.Revision, nil
}

// maxStem is how many words of a pattern tell watches apart: three name a channel, and there are very many.
const maxStem = 3

// stems are the beginnings of a key in whole words, from none up to some.
func stems(key string) []string {
	out := make([]string, 1, maxStem+1)
	for end := 0; end < len(key) && len(out) <= maxStem; end++ {
		if dot := strings.IndexByte(key[end:], '.'); dot >= 0 {
			end += dot
		} else {
			end = len(key)
		}
		out = append(out, key[:end])
	}
	return out
}

// stemOf is the longest stem that all keys have which match a pattern.
func stemOf(pattern string) string {
	if at := strings.IndexAny(pattern, "*>"); at >= 0 {
		pattern = strings.TrimSuffix(pattern[:at], ".")
	}
	all := stems(pattern)
	return all[len(all)-1]
}

// watching returns the watches that may match a key. The caller holds the lock.
func (t *MemoryTable) watching(key string) (out []*memoryWatch) {
	for _, stem := range stems(key) {
		out = append(out, t.watches[stem]...)
	}
	return out
}

func (t *MemoryTable) stopped(w *memoryWatch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return w.stopped
}

// live returns the record of a key unless it has expired. The caller holds the lock.
func (t *MemoryTable) live(key string, now time.Time) memoryRecord {
	r, ok := t.records[key]
	if ok && !r.expires.IsZero() && !now.Before(r.expires) {
		delete(t.records, key)
		return memoryRecord{}
	}
	return r
}

// tidied is how many records each write looks at, to remove those that have expired.
const tidied = 8

// tidy removes some of the records that have expired. Nobody may ever ask for them again: strangers choose
// the names of channels. Each write adds one at most and looks at several, of which any may be one, so those that
// have expired are never more than a fraction of all. The caller holds the lock.
func (t *MemoryTable) tidy(now time.Time) {
	n := 0
	for key := range t.records {
		t.live(key, now)
		if n++; n == tidied {
			return
		}
	}
}

// Read implements [Table].
func (t *MemoryTable) Read(ctx context.Context, key string) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.live(key, t.now())
	if r.Revision == 0 {
		return Entry{}, fmt.Errorf("read %s: %w", key, ErrNotFound)
	}
	return r.Entry, nil
}

// List implements [Table].
func (t *MemoryTable) List(ctx context.Context, pattern string) ([]Record, error) {
	if !ValidPattern(pattern) {
		return nil, fmt.Errorf("list %.80q: %w", pattern, ErrInvalidKey)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Record
	now := t.now()
	for key := range t.records {
		if !Matches(pattern, key) {
			continue
		}
		if r := t.live(key, now); r.Revision > 0 {
			out = append(out, Record{Key: key, Entry: r.Entry})
		}
	}
	return out, nil
}

// Walk implements [Table].
func (t *MemoryTable) Walk(ctx context.Context, pattern string, piece func([]Record)) error {
	all, err := t.List(ctx, pattern)
	if err == nil {
		piece(all)
	}
	return err
}

// Watch implements [Table].
func (t *MemoryTable) Watch(pattern string, w Watcher) (func(), error) {
	if !ValidPattern(pattern) {
		return nil, fmt.Errorf("watch %.80q: %w", pattern, ErrInvalidKey)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	watch, stem := &memoryWatch{pattern: pattern, w: w}, stemOf(pattern)
	t.watches[stem] = append(t.watches[stem], watch)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		watch.stopped = true
		left := slices.DeleteFunc(t.watches[stem], func(o *memoryWatch) bool { return o == watch })
		if t.watches[stem] = left; len(left) == 0 {
			delete(t.watches, stem)
		}
	}, nil
}

// Purge implements [Table].
func (t *MemoryTable) Purge(ctx context.Context, pattern string, through uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, r := range t.records {
		if r.Revision <= through && Matches(pattern, key) {
			delete(t.records, key)
		}
	}
	return nil
}
