package streams

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rank"
)

// relayPatience is how long what came may be given to its followers by the goroutine that
// reads, before another one reads.
const relayPatience = time.Millisecond

// relay gives what comes to a shard of the feed to its followers, in order. It has two
// goroutines. As long as nothing waits, the one that reads a message gives it as well, so a
// message that comes alone wakes one of them. Where giving takes longer, because of a sink or
// because there is much of it, the other one reads meanwhile, and what it reads waits in the
// queue: behind a sink that takes nothing are all channels of the shard.
type relay struct {
	shard *feedShard
	in    <-chan *nats.Msg
	// baton is for the goroutine that is to read next.
	baton chan struct{}
	timer *time.Timer
	// more says that somebody else has put something into the queue.
	more chan struct{}

	mu rank.Mutex[rank.Relay]
	// giving says that one of them gives what is in the queue; relieved, that the other one
	// reads.
	giving, relieved bool
}

func newRelay(s *feedShard, in <-chan *nats.Msg) *relay {
	r := &relay{shard: s, in: in, baton: make(chan struct{}, 1), more: make(chan struct{}, 1)}
	r.timer = time.AfterFunc(time.Hour, r.relieve)
	r.timer.Stop()
	r.baton <- struct{}{}
	return r
}

// run is one of the two goroutines. It ends with the log.
func (r *relay) run() {
	done := r.shard.log.ctx.Done()
	for {
		select {
		case <-done:
			r.timer.Stop()
			return
		case <-r.baton:
		}
		for reads := true; reads; {
			select {
			case <-done:
				r.timer.Stop()
				return
			case m := <-r.in:
				r.shard.enter(m)
				reads = r.give()
			case <-r.more:
				reads = r.give()
			}
		}
	}
}

// poke has what somebody else put into the queue given.
func (r *relay) poke() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// give gives all that is in the queue, unless the other one does, and says whether its
// goroutine goes on reading.
func (r *relay) give() bool {
	r.mu.Lock()
	if r.giving {
		r.mu.Unlock()
		return true
	}
	r.giving, r.relieved = true, false
	r.timer.Reset(relayPatience)
	r.mu.Unlock()
	for {
		r.shard.queue.Drain(func(m live) {
			if m.cast {
				m.follower.hear(m.msg)
			} else {
				m.follower.receive(m.msg)
			}
			r.gather()
		})
		if over, relieved := r.over(); over {
			return !relieved
		}
	}
}

// gather puts into the queue what has come meanwhile, as long as nobody else reads.
func (r *relay) gather() {
	if len(r.in) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := len(r.in); n > 0 && !r.relieved; n-- {
		r.shard.enter(<-r.in)
	}
}

// over ends giving if nothing is left.
func (r *relay) over() (over, relieved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shard.queue.Len() > 0 {
		return false, false
	}
	r.giving = false
	r.timer.Stop() // before the other one starts it for itself
	return true, r.relieved
}

// relieve has the other goroutine read, if the one that did has been giving for too long.
func (r *relay) relieve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.giving && !r.relieved {
		r.relieved = true
		r.baton <- struct{}{}
	}
}
