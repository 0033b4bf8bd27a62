package redis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

// topic is a live channel of a table with its watchers.
type topic struct {
	name    string
	sub     *subscription
	watches []*tableWatch
}

type tableWatch struct {
	pattern string
	w       kv.Watcher

	mu      rank.Mutex[rank.TableWatch]
	stopped bool
}

type tableWrite struct {
	topic *topic
	kv.Record
}

// Watch implements [kv.Table].
func (t *Table) Watch(pattern string, w kv.Watcher) (stop func(), err error) {
	if !kv.ValidPattern(pattern) {
		return nil, fmt.Errorf("watch %.80q: %w", pattern, kv.ErrInvalidKey)
	}
	if t.log.ctx.Err() != nil {
		return nil, fmt.Errorf("watch %s: %w: the log is closed", pattern, kv.ErrUnavailable)
	}
	watch := &tableWatch{pattern: pattern, w: w}
	name := t.topicFor(pattern)
	t.mu.Lock()
	p := t.topics[name]
	made := p == nil
	if made {
		p = &topic{name: name}
		t.topics[name] = p
	}
	p.watches = append(slices.Clone(p.watches), watch)
	if made {
		p.sub = t.log.subs.follow(name, func(m string) { t.take(p, m) }, func() { t.joined(p) })
	}
	t.mu.Unlock()
	return func() { t.unwatch(p, watch) }, nil
}

func (t *Table) unwatch(p *topic, watch *tableWatch) {
	t.mu.Lock()
	p.watches = slices.DeleteFunc(slices.Clone(p.watches), func(x *tableWatch) bool { return x == watch })
	if len(p.watches) == 0 && t.topics[p.name] == p {
		delete(t.topics, p.name)
		t.log.subs.end(p.sub)
	}
	t.mu.Unlock()
	watch.mu.Lock()
	watch.stopped = true
	watch.mu.Unlock()
}

// take parses an announced write, `revision time key value`, and queues it.
func (t *Table) take(p *topic, m string) {
	revision, rest, _ := strings.Cut(m, " ")
	at, rest, _ := strings.Cut(rest, " ")
	key, value, found := strings.Cut(rest, " ")
	n, err1 := strconv.ParseUint(revision, 10, 64)
	micros, err2 := strconv.ParseUint(at, 10, 64)
	if err1 != nil || err2 != nil || !found {
		t.log.stats.Rejected.Add(1)
		return
	}
	w := tableWrite{p, kv.Record{Key: key, Entry: kv.Entry{Value: []byte(value), Revision: n, Time: microseconds(micros)}}}
	if !t.queueOf(p.name).Put(w, len(m)) {
		t.log.stats.Slow.Add(1)
		t.log.unwritten.Store(true)
		t.log.trigger()
	}
}

// tell passes queued writes to the watchers.
func (t *Table) tell(queue *follow.Queue[tableWrite]) {
	for w := range queue.All(t.log.ctx.Done()) {
		t.mu.Lock()
		watches := w.topic.watches
		t.mu.Unlock()
		for _, watch := range watches {
			if kv.Matches(watch.pattern, w.Key) {
				watch.call(func() { watch.w.Changed(w.Record) })
			}
		}
	}
}

func (w *tableWatch) call(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		do()
	}
}

// watching returns all watchers.
func (t *Table) watching() []*tableWatch {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*tableWatch
	for _, p := range t.topics {
		all = append(all, p.watches...)
	}
	return all
}

// joined tells the watchers of a topic that writes may have been missed until now.
func (t *Table) joined(p *topic) {
	t.mu.Lock()
	watches := p.watches
	t.mu.Unlock()
	for _, w := range watches {
		w.call(w.w.Lost)
	}
}

// lost tells all watchers that writes may have been missed.
func (t *Table) lost() {
	for _, w := range t.watching() {
		w.call(w.w.Lost)
	}
}

// audit finds the last write before a silence if it was lost. It reads a few channels at a
// time, and all of them in turn.
func (t *Table) audit() {
	var turns kv.Turns[*tableWatch]
	turns.Every(t.log.ctx, t.log.opt.AuditInterval, tableAudit, t.watching, func(w *tableWatch) { w.call(w.w.Lost) })
}
