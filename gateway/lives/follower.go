package lives

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

// Sink is a [broker.Sink] that is told when the past of its channel was removed.
type Sink interface {
	broker.Sink
	// Forget says that nothing at or below an offset exists any more, so it must be dropped from memory. The
	// epoch is the stream id from now on, which may be a new one. No publication that is still to be
	// delivered is lost by that. A late publication at or below the offset is delivered, and Forget is called
	// again after it. The rules are those of [broker.Sink].
	Forget(at broker.Position)
}

// follower is between the feed and one sink.
type follower struct {
	place
	log  *Log
	sink broker.Sink
	// life is the record of the channel. It is changed with mu held.
	life  atomic.Pointer[record]
	inner atomic.Pointer[broker.Attachment]
	ended atomic.Bool

	// mu makes the calls of the sink sequential.
	mu rank.Mutex[rank.Life]
	// epoch is the epoch of the log that was seen last.
	epoch string
}

// attachment is what a caller of [Log.Attach] gets.
type attachment struct{ *follower }

// Attach implements [broker.Feed]. The sink may be a [Sink].
func (l *Log) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if app == broker.GatewaysApp {
		return l.Log.Attach(ctx, app, channel, sink)
	}
	f := &follower{place: place{app, channel}, log: l, sink: sink}
	l.mu.Lock()
	f.life.Store(l.records[f.place])
	l.attached[f.place] = append(l.attached[f.place], f)
	l.mu.Unlock()
	at, err := l.Log.Attach(ctx, app, channel, f)
	if err != nil {
		l.leave(f)
		return nil, err
	}
	f.inner.Store(&at)
	return attachment{f}, nil
}

func (l *Log) leave(f *follower) {
	f.ended.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := slices.DeleteFunc(l.attached[f.place], func(o *follower) bool { return o == f })
	if len(rest) == 0 {
		delete(l.attached, f.place)
		return
	}
	l.attached[f.place] = rest
}

// Position implements [broker.Attachment], with the present stream id.
func (a attachment) Position() broker.Position {
	at := (*a.inner.Load()).Position()
	at.Epoch = a.life.Load().id(at.Epoch)
	return at
}

// Detach implements [broker.Attachment].
func (a attachment) Detach() {
	(*a.inner.Load()).Detach()
	a.log.leave(a.follower)
}

// Empty implements [broker.Emptiness].
func (a attachment) Empty() bool {
	nothing, ok := (*a.inner.Load()).(broker.Emptiness)
	return ok && nothing.Empty()
}

// Purged returns the offset up to which the channel was purged under a stream id, as far as this gateway
// knows, 0 if it was not. It does not wait.
func (a attachment) Purged(id string) uint64 {
	life := a.life.Load()
	if life == nil || life.Below == 0 || life.id(life.Epoch) != id {
		return 0
	}
	return life.Below - 1
}

// Publication implements [broker.Sink].
func (f *follower) Publication(p *broker.Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch = p.Epoch
	life := f.life.Load()
	f.sink.Publication(life.publication(p))
	if life.removed(p.Epoch, p.Offset) {
		f.forget(life)
	}
}

// Prompt implements [broker.Prompt].
func (f *follower) Prompt() bool {
	sink, ok := f.sink.(broker.Prompt)
	return ok && sink.Prompt()
}

// Heard implements [broker.Listener]. Ephemeral events have no stream id.
func (f *follower) Heard(e *broker.Publication) {
	if sink, ok := f.sink.(broker.Listener); ok {
		sink.Heard(e)
	}
}

// Gap implements [broker.Sink].
func (f *follower) Gap(g broker.Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch = g.Resume.Epoch
	life := f.life.Load()
	g.After.Epoch, g.Resume.Epoch = life.id(g.After.Epoch), life.id(g.Resume.Epoch)
	f.sink.Gap(g)
}

// begin tells the sink of a record. A sink that is not attached yet gets its stream id with its position.
func (f *follower) begin(life *record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !life.newer(f.life.Load()) {
		return
	}
	f.life.Store(life)
	if at := f.inner.Load(); f.epoch == "" && at != nil {
		f.epoch = (*at).Position().Epoch
	}
	if f.epoch != "" {
		f.forget(life)
	}
}

// forget makes the sink forget what a record says. The caller holds the lock.
func (f *follower) forget(life *record) {
	sink, ok := f.sink.(Sink)
	if !ok || f.ended.Load() {
		return
	}
	at := broker.Position{Epoch: life.id(f.epoch)}
	switch {
	case life.Epoch != f.epoch:
	case life.Void:
		at.Offset = life.Until
	case life.Below > 0:
		at.Offset = life.Below - 1
	}
	sink.Forget(at)
}
