package memory

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// appLog is the log of one app. Its lock guards everything below it: the channels, their rings and the queues
// of their attachments. It is held while the events of one call are stored or one page of pointers is copied,
// never while a sink runs.
type appLog struct {
	log   *Log
	epoch string

	mu       sync.Mutex
	closed   bool
	counter  uint64    // offset of the newest publication of the app
	lastTime time.Time // time of the newest publication of the app
	channels map[string]*channel
	dedup    dedup
	// oldest and newest are the ends of the list of all entries.
	oldest, newest *entry
	bytes          int64
	// freed is the highest offset that retention removed from a channel without
	// state. A channel without state may have lost any publication up to it.
	freed       uint64
	attachments int
	stats       Stats
}

func newAppLog(l *Log) *appLog {
	return &appLog{
		log:      l,
		epoch:    rand.Text(),
		channels: make(map[string]*channel),
		dedup:    newDedup(l.opts.DedupWindow, l.opts.DedupEntries),
	}
}

func (a *appLog) publish(now time.Time, entries []*entry) ([]broker.Receipt, error) {
	now = now.Round(0).UTC()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, broker.ErrClosed
	}
	// A clock that was set back must not break the order by time, because the binary searches in a channel
	// depend on it.
	if now.Before(a.lastTime) {
		now = a.lastTime
	}
	a.expire(now)
	receipts := make([]broker.Receipt, len(entries))
	for i, e := range entries {
		if e.hasDedup {
			if pos, known := a.dedup.lookup(e.dedup); known {
				receipts[i] = broker.Receipt{Position: pos, Duplicate: true}
				a.stats.Duplicates++
				continue
			}
		}
		a.store(e, now)
		if e.hasDedup && a.dedup.add(e.dedup, now, e.pub.Position) {
			a.stats.DedupForgotten++
		}
		receipts[i] = broker.Receipt{Position: e.pub.Position}
	}
	return receipts, nil
}

// cast delivers entries to the present attachments and stores nothing.
func (a *appLog) cast(now time.Time, entries []*entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return broker.ErrClosed
	}
	for _, e := range entries {
		e.pub.Time = now.Round(0).UTC()
		if ch := a.channels[e.name]; ch != nil {
			for _, at := range ch.attachments {
				at.cast(e)
			}
		}
	}
	return nil
}

// store appends one entry, evicts what exceeds the limits, and offers it to the attachments.
func (a *appLog) store(e *entry, now time.Time) {
	ch := a.channel(e.name)
	e.name = ""
	a.counter++
	e.pub.Position = broker.Position{Epoch: a.epoch, Offset: a.counter}
	e.pub.Prev = ch.newestOffset()
	e.pub.Time = now
	a.lastTime = now
	a.stats.Published++

	e.channel = ch
	ch.log.push(e)
	e.prev = a.newest
	if a.newest != nil {
		a.newest.next = e
	} else {
		a.oldest = e
	}
	a.newest = e
	a.bytes += e.size

	if most := a.log.opts.MaxMessages; most > 0 && ch.log.len() > most {
		a.evict(ch)
	}
	for a.bytes > a.log.opts.MaxBytes {
		a.evict(a.oldest.channel)
	}
	for _, at := range ch.attachments {
		at.offer(e)
	}
}

// channel returns the state of a channel and makes it if there is none.
func (a *appLog) channel(name string) *channel {
	ch := a.channels[name]
	if ch == nil {
		ch = &channel{name: strings.Clone(name), evicted: a.freed}
		a.channels[ch.name] = ch
	}
	return ch
}

// evict removes the oldest entry of a channel that has one.
func (a *appLog) evict(ch *channel) {
	e := ch.log.pop()
	ch.evicted, ch.lost = e.pub.Offset, e.pub.Time
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		a.oldest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		a.newest = e.prev
	}
	e.prev, e.next, e.channel = nil, nil, nil
	a.bytes -= e.size
	a.stats.Evicted++
	a.free(ch)
}

// free drops the state of a channel without publications and attachments.
func (a *appLog) free(ch *channel) {
	if ch.log.len() > 0 || len(ch.attachments) > 0 {
		return
	}
	delete(a.channels, ch.name)
	a.freed = max(a.freed, ch.evicted)
}

// expire removes publications that are too old. The list of the app is ordered by time, so it stops at the
// first one that is young enough.
func (a *appLog) expire(now time.Time) {
	a.dedup.expire(now)
	if a.log.opts.MaxAge < 0 {
		return
	}
	for a.oldest != nil && now.Sub(a.oldest.pub.Time) > a.log.opts.MaxAge {
		a.evict(a.oldest.channel)
	}
}

func (a *appLog) clean(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
}

// close ends all attachments and releases the data.
func (a *appLog) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, ch := range a.channels {
		for _, at := range ch.attachments {
			at.ended.Store(true)
			at.queue = nil
		}
		ch.attachments = nil
	}
	a.attachments = 0
	clear(a.channels)
	a.oldest, a.newest, a.bytes = nil, nil, 0
	a.dedup = dedup{}
}
