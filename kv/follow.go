package kv

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

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

// maxUnseen bounds the writes that wait for those who follow. More are missed.
const maxUnseen = 8192

// following gives what is written to those who follow. All share one channel and one
// goroutine, which lives as long as somebody follows: a gateway follows a key for each
// of its channels, and with a callback the client library spends a goroutine on each.
type following struct {
	mu   sync.Mutex
	seen map[*nats.Subscription]func(Entry)
	in   chan *nats.Msg
	end  chan struct{}
}

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
	f := &b.following
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) == 0 {
		f.seen = map[*nats.Subscription]func(Entry){}
		f.in, f.end = make(chan *nats.Msg, maxUnseen), make(chan struct{})
		go f.run(f.in, f.end)
	}
	sub, err := b.conn.ChanSubscribe(strings.TrimSuffix(b.republish, ">")+key, f.in)
	if err != nil {
		f.endIfUnused()
		return nil, fmt.Errorf("bucket %s: follow %s: %w: %w", b.name, key, ErrUnavailable, err)
	}
	f.seen[sub] = seen
	return sync.OnceFunc(func() {
		_ = sub.Unsubscribe()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.seen, sub)
		f.endIfUnused()
	}), nil
}

func (f *following) endIfUnused() {
	if len(f.seen) == 0 {
		close(f.end)
	}
}

func (f *following) run(in chan *nats.Msg, end chan struct{}) {
	for {
		select {
		case <-end:
			return
		case m := <-in:
			f.mu.Lock()
			seen := f.seen[m.Sub]
			f.mu.Unlock()
			if e, ok := written(m); ok && seen != nil {
				seen(e)
			}
		}
	}
}

// written reads what the bucket repeats of a write; false for a deletion.
func written(m *nats.Msg) (Entry, bool) {
	// The server appends its headers to those of the writer.
	values := m.Header["Nats-Sequence"]
	if m.Header.Get("KV-Operation") != "" || len(values) == 0 {
		return Entry{}, false
	}
	revision, err := strconv.ParseUint(values[len(values)-1], 10, 64)
	return Entry{Value: m.Data, Revision: revision}, err == nil && revision > 0
}
