package kv

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Followed is a [Store] whose writes can be followed.
type Followed interface {
	Store
	// Follow calls seen for the writes to a key from now on, one after the
	// other, until stop is called; a call in progress may outlast stop. Writes
	// may be missed. seen must not block.
	Follow(key string, seen func(Entry)) (stop func(), err error)
}

var _ Followed = (*Bucket)(nil)

// Follow implements [Followed] with a core subscription to what the bucket
// republishes, so it costs the server no consumer. The bucket must have been opened
// with Republish.
func (b *Bucket) Follow(key string, seen func(Entry)) (stop func(), err error) {
	if err := b.check(key, nil); err != nil {
		return nil, err
	}
	if b.republish == "" {
		return nil, fmt.Errorf("bucket %s: follow %s: the bucket does not republish", b.name, key)
	}
	sub, err := b.conn.Subscribe(strings.TrimSuffix(b.republish, ">")+key, func(m *nats.Msg) {
		if m.Header.Get("KV-Operation") != "" {
			return // a deletion
		}
		// The server appends its headers to those of the writer.
		values := m.Header["Nats-Sequence"]
		if len(values) == 0 {
			return
		}
		revision, err := strconv.ParseUint(values[len(values)-1], 10, 64)
		if err == nil && revision > 0 {
			seen(Entry{Value: m.Data, Revision: revision})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: follow %s: %w: %w", b.name, key, ErrUnavailable, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
