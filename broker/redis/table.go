package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

const (
	// tableShards is the number of goroutines that tell watchers about writes.
	tableShards = 4
	// tableQueue bounds the writes that wait for one of them. Writes that do not fit are reported as lost.
	tableQueue = 16384
	// tableAudit is how many watchers are told in one audit that they may have missed writes.
	tableAudit = 64
	// tableValue is the largest value in bytes.
	tableValue = 64 << 10
	// tablePageSize is how many keys are read or purged at a time.
	tablePageSize = 500
)

// Table is a [kv.Table] in Redis. On a cluster all of it is on one master. It is closed with the log.
type Table struct {
	log   *Log
	names []string
	// writes is the prefix of the channels on which writes are announced.
	writes string

	mu     rank.Mutex[rank.RedisTable]
	topics map[string]*topic
	queues follow.Queues[tableWrite]
}

var _ kv.Table = (*Table)(nil)

// OpenTable opens the table of cluster state: presence, counts, leases and claims.
func (l *Log) OpenTable(context.Context) (*Table, error) {
	t := &Table{log: l, writes: l.opt.Prefix + tableTag + ":w" + l.keys.heard, topics: map[string]*topic{}, names: l.keys.table()}
	t.queues = follow.NewQueues[tableWrite](tableShards, tableQueue, follow.QueueBytes)
	for _, q := range t.queues {
		l.running.Go(func() { t.tell(q) })
	}
	l.tables.Add(t.lost)
	l.running.Go(t.audit)
	return t, nil
}

// topicsOf returns the channels on which a write to a key is announced: one for all keys, one for its first
// word, and one for its first three words.
func (t *Table) topicsOf(key string) []string {
	out := []string{t.writes, t.writes + "." + firstWords(key, 1)}
	if three := firstWords(key, 3); three != "" {
		out = append(out, t.writes+"."+three)
	}
	return out
}

// topicFor returns the narrowest channel that carries all keys of a pattern.
func (t *Table) topicFor(pattern string) string {
	words := strings.Split(pattern, ".")
	literal := 0
	for literal < len(words) && words[literal] != "*" && words[literal] != ">" {
		literal++
	}
	switch {
	case literal >= 3:
		return t.writes + "." + strings.Join(words[:3], ".")
	case literal >= 1:
		return t.writes + "." + words[0]
	}
	return t.writes
}

// firstWords returns the first n words of a key, empty if it has fewer.
func firstWords(key string, n int) string {
	end := 0
	for range n {
		if end >= len(key) {
			return ""
		}
		dot := strings.IndexByte(key[end:], '.')
		if dot < 0 {
			end = len(key) + 1
		} else {
			end += dot + 1
		}
	}
	return key[:end-1]
}

// fail wraps an error of the client library.
func (t *Table) fail(ctx context.Context, what, key string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", what, key, ctx.Err())
	}
	return fmt.Errorf("%s %s: %w: %w", what, key, kv.ErrUnavailable, err)
}

// Put implements [kv.Table].
func (t *Table) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	return t.write(ctx, key, value, ttl, "any")
}

// Swap implements [kv.Table].
func (t *Table) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	return t.write(ctx, key, value, ttl, strconv.FormatUint(revision, 10))
}

func (t *Table) write(ctx context.Context, key string, value []byte, ttl time.Duration, expected string) (uint64, error) {
	switch {
	case !kv.ValidKey(key):
		return 0, fmt.Errorf("put %.80q: %w", key, kv.ErrInvalidKey)
	case len(value) > tableValue:
		return 0, fmt.Errorf("put %s: %w: %d bytes, limit %d", key, kv.ErrTooLarge, len(value), tableValue)
	}
	args := append([]string{key, string(value), milliseconds(ttl), expected, t.log.announce()}, t.topicsOf(key)...)
	text, err := tablePut.Exec(ctx, t.log.pub, t.names, args).ToString()
	t.log.leaveReplica(ctx, err)
	if !errors.Is(ctx.Err(), context.Canceled) {
		// Every gateway renews its lease, so an outage is noticed even without load.
		t.log.problem("storing who is where", err)
	}
	if err != nil {
		return 0, t.fail(ctx, "put", key, err)
	}
	if strings.HasPrefix(text, "-") {
		return 0, fmt.Errorf("put %s: %w", key, kv.ErrConflict)
	}
	revision, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, t.fail(ctx, "put", key, errNotOurs)
	}
	return revision, nil
}

// parseRecord parses a record in the form that the scripts store.
func parseRecord(key, text string) (kv.Record, error) {
	revision, rest, _ := strings.Cut(text, " ")
	_, rest, _ = strings.Cut(rest, " ")
	at, value, found := strings.Cut(rest, " ")
	n, err1 := strconv.ParseUint(revision, 10, 64)
	micros, err2 := strconv.ParseUint(at, 10, 64)
	if err1 != nil || err2 != nil || !found {
		return kv.Record{}, errNotOurs
	}
	return kv.Record{Key: key, Entry: kv.Entry{Value: []byte(value), Revision: n, Time: microseconds(micros)}}, nil
}

// Read implements [kv.Table].
func (t *Table) Read(ctx context.Context, key string) (kv.Entry, error) {
	if !kv.ValidKey(key) {
		return kv.Entry{}, fmt.Errorf("read %.80q: %w", key, kv.ErrInvalidKey)
	}
	text := ""
	err := t.log.attempt(ctx, func(ctx context.Context) (err error) {
		text, err = tableRead.Exec(ctx, t.log.pub, t.names, []string{key}).ToString()
		return err
	})
	if err != nil {
		return kv.Entry{}, t.fail(ctx, "read", key, err)
	}
	if text == "" {
		return kv.Entry{}, fmt.Errorf("read %s: %w", key, kv.ErrNotFound)
	}
	r, err := parseRecord(key, text)
	if err != nil {
		return kv.Entry{}, t.fail(ctx, "read", key, err)
	}
	return r.Entry, nil
}

// List implements [kv.Table].
func (t *Table) List(ctx context.Context, pattern string) (out []kv.Record, err error) {
	err = t.Walk(ctx, pattern, func(piece []kv.Record) { out = append(out, piece...) })
	return out, err
}

// Walk implements [kv.Table], in the order of keys.
func (t *Table) Walk(ctx context.Context, pattern string, piece func([]kv.Record)) error {
	if !kv.ValidPattern(pattern) {
		return fmt.Errorf("list %.80q: %w", pattern, kv.ErrInvalidKey)
	}
	prefix := pattern
	if at := strings.IndexAny(pattern, "*>"); at >= 0 {
		prefix = pattern[:at]
	}
	for from := "[" + prefix; ; {
		var got []string
		err := t.log.attempt(ctx, func(ctx context.Context) (err error) {
			got, err = tablePage.Exec(ctx, t.log.read, t.names,
				[]string{from, "[" + prefix + "\xff", strconv.Itoa(tablePageSize)}).AsStrSlice()
			return err
		})
		if err != nil {
			return t.fail(ctx, "list", pattern, err)
		}
		if len(got) < 2 {
			return t.fail(ctx, "list", pattern, errNotOurs)
		}
		var out []kv.Record
		for i := 2; i+1 < len(got); i += 2 {
			if !kv.Matches(pattern, got[i]) {
				continue
			}
			r, err := parseRecord(got[i], got[i+1])
			if err != nil {
				return t.fail(ctx, "list", pattern, err)
			}
			out = append(out, r)
		}
		piece(out)
		if n, err := strconv.Atoi(got[0]); err != nil || n < tablePageSize {
			return nil
		}
		from = "(" + got[1]
	}
}

// Purge implements [kv.Table].
func (t *Table) Purge(ctx context.Context, pattern string, through uint64) error {
	records, err := t.List(ctx, pattern)
	if err != nil {
		return err
	}
	args := []string{strconv.FormatUint(through, 10)}
	for i, r := range records {
		if r.Revision <= through {
			args = append(args, r.Key)
		}
		if len(args) > tablePageSize || i == len(records)-1 && len(args) > 1 {
			if err := tablePurge.Exec(ctx, t.log.pub, t.names, args).Error(); err != nil {
				t.log.leaveReplica(ctx, err)
				return t.fail(ctx, "purge", pattern, err)
			}
			args = args[:1]
		}
	}
	return nil
}

var shardSeed = maphash.MakeSeed()

func (t *Table) queueOf(topic string) *follow.Queue[tableWrite] {
	return t.queues[maphash.String(shardSeed, topic)%uint64(len(t.queues))]
}
