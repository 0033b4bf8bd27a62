package streams

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
)

// errMissed says that the server has delivered a task that did not arrive: it was sent
// to a connection that broke, say. It would be delivered again when it has expired, so
// the taker begins anew.
var errMissed = errors.New("a task was lost on its way")

// intake watches over what a consumer delivers to its only taker: that nothing is
// missing, and that no more is in memory than there is room for.
type intake struct {
	limit int
	freed chan struct{}

	mu rank.Mutex[rank.StreamsIntake]
	// seen is the number of the last delivery that arrived, bytes is the size of
	// what is not done.
	seen  uint64
	bytes int
	// waits counts the times that there was no room, and waiting says that there is
	// none now.
	waits   uint64
	waiting bool
	// delivered, waited and arrived are the numbers of the last audit.
	delivered, waited, arrived uint64
}

func newIntake(limit int) *intake { return &intake{limit: limit, freed: make(chan struct{}, 1)} }

// accept turns the next message into a task, once there is room for it.
func (in *intake) accept(ctx context.Context, m jetstream.Msg) (broker.Taken, error) {
	at, err := m.Metadata()
	if err != nil {
		return broker.Taken{}, err
	}
	size := len(m.Data())
	if err := in.arrive(ctx, at.Sequence.Consumer, size); err != nil {
		return broker.Taken{}, err
	}
	id, err := name.Decode(m.Headers().Get(taskID))
	if err != nil {
		id = ""
	}
	return broker.Taken{
		Task: broker.Task{ID: id, Body: m.Data()}, Sequence: at.Sequence.Stream, Stored: at.Timestamp,
		Done: func(ctx context.Context) error {
			if err := m.DoubleAck(ctx); err != nil {
				return err
			}
			in.free(size)
			return nil
		},
	}, nil
}

// arrive notes a delivery and waits until there is room for it. Deliveries are numbered
// without gaps.
func (in *intake) arrive(ctx context.Context, number uint64, size int) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if number != in.seen+1 {
		return errMissed
	}
	in.seen = number
	for in.bytes > 0 && in.bytes+size > in.limit {
		in.waiting = true
		in.waits++
		in.mu.Unlock()
		select {
		case <-in.freed:
		case <-ctx.Done():
		}
		in.mu.Lock()
		in.waiting = false
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	in.bytes += size
	return nil
}

func (in *intake) free(size int) {
	in.mu.Lock()
	in.bytes -= size
	in.mu.Unlock()
	select {
	case in.freed <- struct{}{}:
	default:
	}
}

// audit finds the last delivery before a silence if it is missing. It is called now and
// then with the number of the server's last delivery: what had been delivered the time
// before has arrived, unless it waits behind something for which there is no room. Where
// something still arrives nothing is missing, because behind a gap nothing would: a slow
// machine needs longer than from one audit to the next for what is on its way.
func (in *intake) audit(delivered uint64) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.waits == in.waited && in.seen == in.arrived && in.seen < in.delivered {
		return errMissed
	}
	in.delivered, in.waited, in.arrived = delivered, in.waits, in.seen
	if in.waiting {
		in.delivered = 0
	}
	return nil
}
