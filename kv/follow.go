package kv

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rank"
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

// renewal is how often it is looked whether the connection is another one.
const renewal = time.Second

// following gives what is written to those who follow. All share one channel and one
// goroutine, which lives as long as somebody follows: a gateway follows a key for each
// of its channels, and with a callback the client library spends a goroutine on each.
type following struct {
	mu   rank.Mutex[rank.Following]
	conn *nats.Conn
	all  map[*followed]struct{}
	seen map[*nats.Subscription]*followed
	in   chan *nats.Msg
	end  chan struct{}
}

// followed is a key that somebody follows.
type followed struct {
	subject string
	seen    func(Entry)
	sub     *nats.Subscription
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
	if len(f.all) == 0 {
		f.all, f.seen, f.conn = map[*followed]struct{}{}, map[*nats.Subscription]*followed{}, b.js.Conn()
		f.in, f.end = make(chan *nats.Msg, maxUnseen), make(chan struct{})
		go b.follow(f.in, f.end)
	}
	one := &followed{subject: strings.TrimSuffix(b.republish, ">") + key, seen: seen}
	f.renew(b.js.Conn())
	if err := f.subscribe(one); err != nil {
		f.endIfUnused()
		return nil, fmt.Errorf("bucket %s: follow %s: %w: %w", b.name, key, ErrUnavailable, err)
	}
	f.all[one] = struct{}{}
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = one.sub.Unsubscribe()
		delete(f.all, one)
		delete(f.seen, one.sub)
		f.endIfUnused()
	}), nil
}

// subscribe subscribes on the present connection. The lock is held, here and below.
func (f *following) subscribe(one *followed) error {
	sub, err := f.conn.ChanSubscribe(one.subject, f.in)
	if err != nil {
		return err
	}
	delete(f.seen, one.sub)
	one.sub = sub
	f.seen[sub] = one
	return nil
}

// renew goes over to another connection if the one in use was replaced. A subscription
// fails only on one that is closed already, and is made on the next one.
func (f *following) renew(conn *nats.Conn) {
	if conn == f.conn {
		return
	}
	f.conn = conn
	for one := range f.all {
		_ = f.subscribe(one)
	}
}

func (f *following) endIfUnused() {
	if len(f.all) == 0 {
		close(f.end)
	}
}

func (b *Bucket) follow(in chan *nats.Msg, end chan struct{}) {
	f := &b.following
	look := time.NewTicker(renewal)
	defer look.Stop()
	for {
		select {
		case <-end:
			return
		case <-look.C:
			f.mu.Lock()
			// Another goroutine may have begun since this one was told to end.
			if f.in == in {
				f.renew(b.js.Conn())
			}
			f.mu.Unlock()
		case m := <-in:
			f.mu.Lock()
			one := f.seen[m.Sub]
			f.mu.Unlock()
			if e, ok := written(m); ok && one != nil {
				one.seen(e)
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
