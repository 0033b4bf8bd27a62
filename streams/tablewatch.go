package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/kv"
)

// Watch implements [kv.Table] with a core subscription.
func (t *Table) Watch(pattern string, w kv.Watcher) (stop func(), err error) {
	if !kv.ValidPattern(pattern) {
		return nil, fmt.Errorf("watch %.80q: %w", pattern, kv.ErrInvalidKey)
	}
	t.mu.Lock()
	t.next++
	s := t.shards[t.next%uint64(len(t.shards))]
	t.mu.Unlock()
	watch := &tableWatch{w: w, stream: t.stream}
	crowded := t.log.feed.crowded.Load()
	// Writes that arrive before the watch is registered are older than what the caller reads next, and are ignored.
	var last *nats.Subscription
	sub, err := t.log.feed.stand(t.live+pattern, s.in, func(now, before *nats.Subscription) {
		s.mu.Lock()
		defer s.mu.Unlock()
		last = now
		delete(s.watches, before)
		s.watches[now] = watch
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w: %w", pattern, kv.ErrUnavailable, err)
	}
	stop = func() {
		sub.end()
		s.mu.Lock()
		delete(s.watches, last)
		s.mu.Unlock()
		watch.mu.Lock()
		watch.stopped = true
		watch.mu.Unlock()
	}
	// Reads use another connection. Without waiting here, a write could be stored after the next read and before the server
	// knows the subscription.
	ctx, cancel := context.WithTimeout(t.log.ctx, watchTimeout)
	defer cancel()
	if err := t.log.feed.settle(ctx, crowded); err != nil {
		stop()
		return nil, fmt.Errorf("watch %s: %w: %w", pattern, kv.ErrUnavailable, err)
	}
	return stop, nil
}

// watchTimeout is how long the server may take to accept a subscription.
const watchTimeout = 5 * time.Second

// take moves writes into the queue until the log is closed. It must not wait for watchers.
func (s *tableShard) take(l *Log) {
	for {
		select {
		case <-l.ctx.Done():
			return
		case m := <-s.in:
			s.mu.Lock()
			watch := s.watches[m.Sub]
			s.mu.Unlock()
			if watch != nil && !s.queue.Put(tableWrite{watch, m}, m.Size()) {
				l.stats.Slow.Add(1)
				l.writesLost.Ring()
			}
		}
	}
}

// run notifies the watchers until ctx ends.
func (s *tableShard) run(ctx context.Context) {
	for w := range s.queue.All(ctx.Done()) {
		w.watch.receive(w.msg)
	}
}

// receive notifies the watcher of a republished write.
func (w *tableWatch) receive(m *nats.Msg) {
	p, err := placeOf(m, w.stream, "")
	switch {
	case errors.Is(err, errPlaceless):
		return // not published by the server
	case err != nil:
		w.lost()
		return
	case len(p.subject) < len("$KV."):
		return
	}
	// $KV.BUCKET.KEY
	key := p.subject[len("$KV."):]
	for i := range len(key) {
		if key[i] == '.' {
			key = key[i+1:]
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.w.Changed(kv.Record{Key: key, Entry: kv.Entry{Value: m.Data, Revision: p.offset, Time: p.time}})
	}
}

func (w *tableWatch) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.w.Lost()
	}
}

// watching returns all watches.
func (t *Table) watching() []*tableWatch {
	var all []*tableWatch
	for _, s := range t.shards {
		s.mu.Lock()
		for _, w := range s.watches {
			all = append(all, w)
		}
		s.mu.Unlock()
	}
	return all
}

// lost tells all watchers that writes may have been missed.
func (t *Table) lost() {
	for _, w := range t.watching() {
		w.lost()
	}
}

// audit makes watchers compare, a few at a time and all of them in rotation. So a lost last write before a silence is found.
func (t *Table) audit() {
	var turns kv.Turns[*tableWatch]
	turns.Every(t.log.ctx, t.log.opt.AuditInterval, tableAudit, t.watching, (*tableWatch).lost)
}
