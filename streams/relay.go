package streams

import (
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rank"
)

// relayFew is the largest number of messages that the reading goroutine delivers itself.
const relayFew = 8

// relay delivers the messages of a shard to its followers, in order. If no messages wait and no sink would block, the
// goroutine that reads from NATS delivers them itself, so no other goroutine is woken. Otherwise the goroutine of the
// relay delivers them, and messages that are read meanwhile wait in the queue. A sink that blocks delays only the channels
// of its shard.
type relay struct {
	shard *feedShard
	in    <-chan *nats.Msg
	// more receives a value when there is work for the goroutine.
	more chan struct{}

	mu rank.Mutex[rank.Relay]
	// giving says that a goroutine is delivering the messages of the queue.
	giving bool
}

func newRelay(s *feedShard, in <-chan *nats.Msg) *relay {
	return &relay{shard: s, in: in, more: make(chan struct{}, 1)}
}

// run is the body of the goroutine. It ends with the log.
func (r *relay) run() {
	done := r.shard.log.ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-r.more:
			r.gather()
			for r.begin() {
				r.shard.queue.Batch(give)
				r.end()
			}
		}
	}
}

// arrived delivers the messages that have arrived, or leaves that to the goroutine. It does not block.
func (r *relay) arrived() {
	if len(r.in) == 0 {
		return
	}
	if !r.gather() || !r.begin() {
		r.poke()
		return
	}
	r.shard.queue.Batch(give)
	if r.end() {
		r.poke()
	}
}

// poke wakes the goroutine.
func (r *relay) poke() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// gather moves the messages that have arrived into the queue. It reports whether they are few and no sink would block.
func (r *relay) gather() (prompt bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.in)
	prompt = n <= relayFew && !r.giving && r.shard.queue.Len() == 0
	for ; n > 0; n-- {
		if f := r.shard.enter(<-r.in); f != nil && prompt {
			prompt = f.Prompt()
		}
	}
	return prompt
}

// begin reports whether there are messages to deliver and no other goroutine does so. If true, the caller must deliver them
// and then call end.
func (r *relay) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.giving || r.shard.queue.Len() == 0 {
		return false
	}
	r.giving = true
	return true
}

// end ends the delivery, and reports whether messages are left.
func (r *relay) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giving = false
	return r.shard.queue.Len() > 0
}

// give delivers a message to its follower.
func give(m live) {
	if m.cast {
		m.follower.hear(m.msg)
	} else {
		m.follower.receive(m.msg)
	}
}
