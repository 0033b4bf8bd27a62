package streams

import (
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rank"
)

// relayFew is how many messages that came together are given by who read them.
const relayFew = 8

// relay gives what comes to a shard of the feed to its followers, in order. As long as nothing
// waits, and nobody would have to be waited for, whoever reads from NATS gives it, and wakes
// nobody. Otherwise a goroutine does, and what is read meanwhile waits in the queue: behind a sink
// that takes nothing are the channels of the shard, and no others.
type relay struct {
	shard *feedShard
	in    <-chan *nats.Msg
	// more says that there is something for the goroutine.
	more chan struct{}

	mu rank.Mutex[rank.Relay]
	// giving says that somebody gives what is in the queue.
	giving bool
}

func newRelay(s *feedShard, in <-chan *nats.Msg) *relay {
	return &relay{shard: s, in: in, more: make(chan struct{}, 1)}
}

// run is the goroutine. It ends with the log.
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

// arrived gives what has come, or has it given. It waits for nobody.
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

// poke has the goroutine give what is in the queue.
func (r *relay) poke() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// gather puts into the queue what has come, and says whether giving that at once is little work
// for which nobody has to be waited.
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

// begin says whether there is something to give and nobody else gives it. Then that is up to the
// caller, until end.
func (r *relay) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.giving || r.shard.queue.Len() == 0 {
		return false
	}
	r.giving = true
	return true
}

// end says whether something is left.
func (r *relay) end() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giving = false
	return r.shard.queue.Len() > 0
}

// give gives a message to those who follow its channel.
func give(m live) {
	if m.cast {
		m.follower.hear(m.msg)
	} else {
		m.follower.receive(m.msg)
	}
}
