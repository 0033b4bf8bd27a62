package streams

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
)

// errMissed says that the server has delivered a task that did not arrive, for example because the connection broke. The
// server would deliver it again only after AckWait, so the taker starts again with a new consumer.
var errMissed = errors.New("a task was lost on its way")

// intake checks the deliveries of a consumer to its only taker: none may be missing, and the bytes in memory are bounded.
type intake struct {
	limit int
	freed chan struct{}

	mu rank.Mutex[rank.StreamsIntake]
	// seen is the number of the last delivery that arrived, and bytes the size of the tasks that are not done.
	seen  uint64
	bytes int
	// waits counts how often there was no room. waiting says that there is none now.
	waits   uint64
	waiting bool
	// delivered, waited and arrived are the values at the last audit.
	delivered, waited, arrived uint64
}

func newIntake(limit int) *intake { return &intake{limit: limit, freed: make(chan struct{}, 1)} }

// accept waits for room and converts the next message into a task.
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

// arrive records a delivery and waits until there is room for it. Deliveries are numbered consecutively.
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

// audit detects that the last deliveries before a silence are missing. It is called periodically with the number of the
// server's last delivery. Deliveries known at the previous audit must have arrived by now, unless they wait for room. If
// anything has arrived since, nothing is missing, because nothing arrives after a gap. This matters on a slow machine,
// where a delivery may take longer than the time between two audits.
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
