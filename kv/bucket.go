package kv

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/rank"
)

// Bucket is a [Store] on JetStream KV. Make one with [OpenBucket]. It holds no
// resources of its own, except while keys are followed: closing the connection it was
// opened on is the caller's business, and ends it.
type Bucket struct {
	name     string
	js       JetStream
	maxValue int
	// republish is for following keys.
	republish string
	following following

	mu rank.Mutex[rank.Bucket]
	// made is the handle of the library, on conn.
	made jetstream.KeyValue
	conn *nats.Conn
}

// JetStream is what a bucket needs of it. The connection may be another one from time to
// time, when one was closed for good; the bucket goes over to it.
type JetStream interface {
	Conn() *nats.Conn
	Stream(ctx context.Context, name string) (jetstream.Stream, error)
	UpdateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error)
	KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error)
	CreateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error)
}

// kv returns the handle of the library on the present connection.
func (b *Bucket) kv(ctx context.Context) (jetstream.KeyValue, error) {
	conn := b.js.Conn()
	b.mu.Lock()
	made, current := b.made, b.conn == conn
	b.mu.Unlock()
	if current {
		return made, nil
	}
	made, err := b.js.KeyValue(ctx, b.name)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made, b.conn = made, conn
	return made, nil
}

var _ Store = (*Bucket)(nil)

// Name returns the name of the bucket.
func (b *Bucket) Name() string { return b.name }

// Get implements [Store].
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	if err := b.check(key, nil); err != nil {
		return Entry{}, err
	}
	store, err := b.kv(ctx)
	if err != nil {
		return Entry{}, b.fail(ctx, "get", key, err)
	}
	e, err := store.Get(ctx, key)
	if err != nil {
		return Entry{}, b.fail(ctx, "get", key, err)
	}
	return Entry{Value: e.Value(), Revision: e.Revision(), Time: e.Created()}, nil
}

// Create implements [Store].
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	if err := b.check(key, value); err != nil {
		return 0, err
	}
	store, err := b.kv(ctx)
	if err != nil {
		return 0, b.fail(ctx, "create", key, err)
	}
	revision, err := store.Create(ctx, key, value)
	if err != nil {
		return 0, b.fail(ctx, "create", key, err)
	}
	return revision, nil
}

// Update implements [Store].
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := b.check(key, value); err != nil {
		return 0, err
	}
	if revision == 0 {
		// JetStream would take 0 for "must not exist", and create the key.
		return 0, fmt.Errorf("bucket %s: update %s: %w: revision is 0", b.name, key, ErrConflict)
	}
	store, err := b.kv(ctx)
	if err != nil {
		return 0, b.fail(ctx, "update", key, err)
	}
	next, err := store.Update(ctx, key, value, revision)
	if err != nil {
		return 0, b.fail(ctx, "update", key, err)
	}
	return next, nil
}

// Delete implements [Store]. What is left of a key is a marker without a value,
// which expires like a value does.
func (b *Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	if err := b.check(key, nil); err != nil {
		return err
	}
	var opts []jetstream.KVDeleteOpt
	if revision != 0 {
		opts = append(opts, jetstream.LastRevision(revision))
	}
	store, err := b.kv(ctx)
	if err != nil {
		return b.fail(ctx, "delete", key, err)
	}
	if err := store.Delete(ctx, key, opts...); err != nil {
		return b.fail(ctx, "delete", key, err)
	}
	return nil
}

func (b *Bucket) check(key string, value []byte) error {
	if !validKey(key) {
		return fmt.Errorf("bucket %s: %w: %.80q", b.name, ErrInvalidKey, key)
	}
	if len(value) > b.maxValue {
		return fmt.Errorf("bucket %s: %w: %d bytes, limit %d", b.name, ErrTooLarge, len(value), b.maxValue)
	}
	return nil
}

// fail translates an error of the client library. What is neither an answer
// about the key nor the caller's own context is unavailability: no responders,
// no leader, a closed connection, a time-out, a full or vanished bucket.
func (b *Bucket) fail(ctx context.Context, operation, key string, err error) error {
	kind := ErrUnavailable
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		kind = ErrNotFound
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch), errors.Is(err, jetstream.ErrKeyExists):
		kind = ErrConflict
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		// Create looks again after a conflict and may lose a second race,
		// which the library passes on as it came.
		kind = ErrConflict
	case ctx.Err() != nil:
		kind = ctx.Err()
	}
	return fmt.Errorf("bucket %s: %s %s: %w: %w", b.name, operation, key, kind, err)
}
