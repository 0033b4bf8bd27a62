package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

const (
	// tableShards is the number of goroutines that notify watchers.
	tableShards = 4
	// tableQueue bounds the writes that wait for one of them. Writes that do not fit are reported as lost.
	tableQueue = 16384
	// tableAudit is the number of watchers that each audit asks to compare, in case a write was lost unnoticed.
	tableAudit = 64
	// tableValue is the largest value in bytes.
	tableValue = 64 << 10
)

// Table is a [kv.Table] in a JetStream bucket that republishes its writes on core subjects. So watchers need no consumers on the
// server. It is closed with the log.
type Table struct {
	log    *Log
	stream string
	// root is the prefix of the subjects for writes, and live that of the republished writes.
	root, live string
	shards     []*tableShard
	next       uint64
	mu         rank.Mutex[rank.StreamsTable]
	storing    outcome
}

// tableShard notifies a part of the watchers.
type tableShard struct {
	in    chan *nats.Msg
	queue *follow.Queue[tableWrite]

	mu      rank.Mutex[rank.StreamsWatches]
	watches map[*nats.Subscription]*tableWatch
}

// tableWrite is a write for a watcher.
type tableWrite struct {
	watch *tableWatch
	msg   *nats.Msg
}

// tableWatch is one watcher.
type tableWatch struct {
	w      kv.Watcher
	stream string

	mu      rank.Mutex[rank.TableWatch]
	stopped bool
}

var _ kv.Table = (*Table)(nil)

// OpenTable opens the table of the cluster state: presence, counts, leases and claims. Only the server may be permitted to publish
// to the subject on which its writes are republished, as to live subjects.
func (l *Log) OpenTable(ctx context.Context) (*Table, error) {
	o := l.opt.tableBucket()
	t := &Table{log: l, stream: "KV_" + o.Name, root: "$KV." + o.Name + ".", live: l.opt.Prefix + "rtkv."}
	t.storing.what = "storing who is where"
	if l.opt.Domain != "" {
		t.root = "$JS." + l.opt.Domain + ".API." + t.root
	}
	if _, err := l.openBucket(ctx, o); err != nil {
		return nil, err
	}
	for range tableShards {
		s := &tableShard{
			in: make(chan *nats.Msg, inTransit), queue: follow.NewQueue[tableWrite](tableQueue, follow.QueueBytes),
			watches: map[*nats.Subscription]*tableWatch{},
		}
		t.shards = append(t.shards, s)
		l.running.Go(func() { s.take(l) })
		l.running.Go(func() { s.run(l.ctx) })
	}
	l.tables.Add(t.lost)
	l.running.Go(t.audit)
	return t, nil
}

// TableSubject returns the subject for writes to keys of the table, with the prefix of the options and without a domain.
func TableSubject(prefix, keys string) string {
	o := Options{Prefix: prefix}
	return "$KV." + o.bucketPrefix() + "cluster." + keys
}

func (o *Options) tableBucket() kv.BucketOptions {
	return kv.BucketOptions{
		Name: o.bucketPrefix() + "cluster", Replicas: o.Replicas, Republish: o.Prefix + "rtkv.>", MessageTTL: true, MaxValueBytes: tableValue,
	}
}

// Put implements [kv.Table].
func (t *Table) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	return t.write(ctx, key, value, ttl)
}

// Swap implements [kv.Table].
func (t *Table) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	return t.write(ctx, key, value, ttl, jetstream.WithExpectLastSequencePerSubject(revision))
}

func (t *Table) write(ctx context.Context, key string, value []byte, ttl time.Duration, opts ...jetstream.PublishOpt) (uint64, error) {
	switch {
	case !kv.ValidKey(key):
		return 0, fmt.Errorf("put %.80q: %w", key, kv.ErrInvalidKey)
	case len(value) > tableValue:
		return 0, fmt.Errorf("put %s: %w: %d bytes, limit %d", key, kv.ErrTooLarge, len(value), tableValue)
	}
	m := &nats.Msg{Subject: t.root + key, Data: value, Header: nats.Header{}}
	if ttl > 0 {
		m.Header.Set("Nats-TTL", strconv.FormatInt(max(int64(ttl/time.Second), 1), 10))
	}
	ack, err := t.log.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
	var api *jetstream.APIError
	switch {
	case err == nil:
		t.storing.note(t.log, nil)
		return ack.Sequence, nil
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("put %s: %w", key, kv.ErrConflict)
	case errors.Is(ctx.Err(), context.Canceled):
		return 0, fmt.Errorf("put %s: %w", key, ctx.Err())
	}
	// Every gateway renews its lease, so a failure is noticed even without other writes.
	t.storing.note(t.log, err)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("put %s: %w", key, ctx.Err())
	}
	return 0, fmt.Errorf("put %s: %w: %w", key, kv.ErrUnavailable, err)
}

// Read implements [kv.Table] by asking the leader.
func (t *Table) Read(ctx context.Context, key string) (kv.Entry, error) {
	if !kv.ValidKey(key) {
		return kv.Entry{}, fmt.Errorf("read %.80q: %w", key, kv.ErrInvalidKey)
	}
	var m stored
	var found bool
	err := t.log.patiently(ctx, func() (err error) {
		m, found, err = t.log.reader.leaderGet(ctx, t.stream, getRequest{LastFor: "$KV." + t.stream[len("KV_"):] + "." + key})
		return err
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return kv.Entry{}, fmt.Errorf("read %s: %w", key, ctx.Err())
	case err != nil:
		return kv.Entry{}, fmt.Errorf("read %s: %w: %w", key, kv.ErrUnavailable, err)
	case !found:
		return kv.Entry{}, fmt.Errorf("read %s: %w", key, kv.ErrNotFound)
	}
	return kv.Entry{Value: m.data, Revision: m.offset, Time: m.time}, nil
}

// listPage is the number of records of one reading. Records are small.
const listPage = 256

// List implements [kv.Table].
func (t *Table) List(ctx context.Context, pattern string) ([]kv.Record, error) {
	newest := map[string]kv.Record{}
	err := t.Walk(ctx, pattern, func(piece []kv.Record) {
		for _, r := range piece {
			newest[r.Key] = r
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]kv.Record, 0, len(newest))
	for _, r := range newest {
		out = append(out, r)
	}
	return out, nil
}

// Walk implements [kv.Table]. It reads the table in the order of revisions. A record that is written meanwhile moves to the end and
// is found there. Each page may come from another replica. One that is behind lacks the last writes, among them records that
// have moved to the end. So the leader determines where the end is.
func (t *Table) Walk(ctx context.Context, pattern string, piece func([]kv.Record)) error {
	if !kv.ValidPattern(pattern) {
		return fmt.Errorf("list %.80q: %w", pattern, kv.ErrInvalidKey)
	}
	root := "$KV." + t.stream[len("KV_"):] + "."
	from, end := uint64(1), uint64(0)
	for more := true; more; {
		var page []stored
		err := t.log.patiently(ctx, func() (err error) {
			page, more, err = t.listPage(ctx, root+pattern, from, &end)
			return err
		})
		switch {
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("list %s: %w", pattern, ctx.Err())
		case err != nil:
			return fmt.Errorf("list %s: %w: %w", pattern, kv.ErrUnavailable, err)
		}
		records := make([]kv.Record, len(page))
		for i, m := range page {
			records[i] = kv.Record{
				Key: strings.TrimPrefix(m.subject, root), Entry: kv.Entry{Value: m.data, Revision: m.offset, Time: m.time},
			}
			from = m.offset + 1
		}
		piece(records)
	}
	return nil
}

// listPage reads matching records from a revision on, and reports whether more may follow. If a replica says that there are no
// more, the leader is asked. end is the last revision of the leader when it was first asked, 0 before that.
func (t *Table) listPage(ctx context.Context, pattern string, from uint64, end *uint64) (page []stored, more bool, err error) {
	page, err = t.log.reader.fetch(ctx, t.stream, getRequest{Seq: from, NextFor: pattern, Batch: listPage})
	if err != nil {
		return nil, false, err
	}
	if len(page) > 0 {
		last := page[len(page)-1]
		if last.pending > 0 {
			return page, true, nil
		}
		from = last.offset + 1
	}
	if *end == 0 {
		m, found, err := t.log.reader.leaderGet(ctx, t.stream, getRequest{LastFor: pattern})
		if err != nil || !found {
			return page, false, err
		}
		*end = m.offset
	}
	if from > *end {
		return page, false, nil
	}
	m, found, err := t.log.reader.leaderGet(ctx, t.stream, getRequest{Seq: from, NextFor: pattern})
	if err != nil || !found || m.offset > *end {
		return page, false, err
	}
	return append(page, m), true, nil
}

// Purge implements [kv.Table].
func (t *Table) Purge(ctx context.Context, pattern string, through uint64) error {
	if !kv.ValidPattern(pattern) {
		return fmt.Errorf("purge %.80q: %w", pattern, kv.ErrInvalidKey)
	}
	stream, err := t.log.js.Stream(ctx, t.stream)
	if err == nil {
		// The server removes messages below the given sequence.
		err = stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+t.stream[len("KV_"):]+"."+pattern), jetstream.WithPurgeSequence(through+1))
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("purge %s: %w", pattern, ctx.Err())
	}
	return fmt.Errorf("purge %s: %w: %w", pattern, kv.ErrUnavailable, err)
}
