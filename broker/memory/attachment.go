package memory

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
)

// attachment delivers publications of one channel to one sink.
//
// A goroutine exists only while there is something to deliver, so a hundred thousand quiet channels cost no
// stacks, and a slow sink delays no other. The queue is bounded: when it is full, the attachment is behind
// and queues nothing more; once the queue is drained it continues from the retained log.
type attachment struct {
	app      *appLog
	channel  *channel
	sink     broker.Sink
	position broker.Position
	empty    bool
	// ended is set under the lock of the app and read without it before each
	// call of the sink.
	ended atomic.Bool

	// Guarded by the lock of the app.
	index   int // place in channel.attachments
	queue   []*entry
	items   int    // in the queue and in delivery
	bytes   int64  // of these items
	tail    uint64 // offset up to which publications were queued or delivered
	behind  bool   // the log holds more than the queue
	running bool   // a goroutine delivers
}

// spareItems is the capacity of a queue that an idle attachment keeps.
const spareItems = 16

func (a *appLog) attach(name string, sink broker.Sink) (*attachment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, broker.ErrClosed
	}
	ch := a.channel(name)
	offset := ch.newestOffset()
	empty := offset == 0
	if empty {
		// Nothing is retained, so no publication lies between any older place and the app's newest one, and
		// the newest stays provable for longer.
		offset = a.counter
	}
	at := &attachment{
		app:      a,
		channel:  ch,
		sink:     sink,
		position: broker.Position{Epoch: a.epoch, Offset: offset},
		empty:    empty,
		index:    len(ch.attachments),
		tail:     offset,
	}
	ch.attachments = append(ch.attachments, at)
	a.attachments++
	return at, nil
}

// Position implements [broker.Attachment].
func (at *attachment) Position() broker.Position { return at.position }

// Empty implements [broker.Emptiness].
func (at *attachment) Empty() bool { return at.empty }

// Detach implements [broker.Attachment].
func (at *attachment) Detach() {
	a := at.app
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.ended.Swap(true) {
		return
	}
	list := at.channel.attachments
	last := list[len(list)-1]
	list[at.index], last.index = last, at.index
	list[len(list)-1] = nil
	at.channel.attachments = list[:len(list)-1]
	at.queue = nil
	a.attachments--
	a.free(at.channel)
}

// offer takes a new entry of the channel. The caller holds the lock.
func (at *attachment) offer(e *entry) {
	if !at.behind {
		opts := &at.app.log.opts
		full := at.items >= opts.QueueItems || at.bytes+e.size > int64(opts.QueueBytes)
		if full && at.items > 0 {
			at.behind = true
			at.app.stats.CatchUps++
		} else {
			at.queue = append(at.queue, e)
			at.items++
			at.bytes += e.size
			at.tail = e.pub.Offset
		}
	}
	at.run()
}

// cast takes an event that is not stored. It is dropped if it does not fit into the queue, because it cannot
// be read from the log later. The caller holds the lock.
func (at *attachment) cast(e *entry) {
	opts := &at.app.log.opts
	if at.behind || at.items > 0 && (at.items >= opts.QueueItems || at.bytes+e.size > int64(opts.QueueBytes)) {
		at.app.stats.Unheard++
		return
	}
	at.queue = append(at.queue, e)
	at.items++
	at.bytes += e.size
	at.run()
}

// run starts a goroutine that delivers unless one is running. The caller holds the lock.
func (at *attachment) run() {
	if !at.running {
		at.running = true
		at.app.log.running.Add(1)
		go at.deliver()
	}
}

// deliver calls the sink until nothing is left, and returns.
func (at *attachment) deliver() {
	defer at.app.log.running.Done()
	var batch []*entry
	for {
		var gap *broker.Gap
		var more bool
		batch, gap, more = at.take(batch)
		if !more {
			return
		}
		if gap != nil && !at.ended.Load() {
			at.sink.Gap(*gap)
		}
		for _, e := range batch {
			if at.ended.Load() {
				break
			}
			at.tell(e)
		}
	}
}

func (at *attachment) tell(e *entry) {
	if e.pub.Offset > 0 {
		at.sink.Publication(&e.pub)
	} else if sink, ok := at.sink.(broker.Listener); ok {
		sink.Heard(&e.pub)
	}
}

// take gives back a delivered batch and returns the next one. It reports false if there is none; the
// goroutine must then end.
func (at *attachment) take(done []*entry) (batch []*entry, gap *broker.Gap, more bool) {
	a := at.app
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range done {
		at.items--
		at.bytes -= e.size
	}
	clear(done)
	done = done[:0]
	switch {
	case at.ended.Load():
		at.running = false
		return nil, nil, false
	case len(at.queue) > 0:
		batch, at.queue = at.queue, done
		return batch, nil, true
	case at.behind:
		batch, gap = at.catchUp(done)
		return batch, gap, true
	default:
		if cap(at.queue) < cap(done) && cap(done) <= spareItems {
			at.queue = done
		}
		if cap(at.queue) > spareItems {
			at.queue = nil
		}
		at.running = false
		return nil, nil, false
	}
}

// catchUp fills a batch from the retained log, within the bounds of the queue.
func (at *attachment) catchUp(batch []*entry) ([]*entry, *broker.Gap) {
	ch, opts := at.channel, &at.app.log.opts
	var gap *broker.Gap
	if ch.evicted > at.tail {
		epoch := at.app.epoch
		gap = &broker.Gap{
			After:  broker.Position{Epoch: epoch, Offset: at.tail},
			Resume: broker.Position{Epoch: epoch, Offset: ch.evicted},
			Reason: broker.GapEvicted,
		}
		at.tail = ch.evicted
		at.app.stats.Gaps++
	}
	i := ch.above(at.tail)
	for ; i < ch.log.len() && at.items < opts.QueueItems; i++ {
		e := ch.log.at(i)
		if at.items > 0 && at.bytes+e.size > int64(opts.QueueBytes) {
			break
		}
		batch = append(batch, e)
		at.items++
		at.bytes += e.size
		at.tail = e.pub.Offset
	}
	at.behind = i < ch.log.len()
	return batch, gap
}
