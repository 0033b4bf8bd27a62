package streams

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// tipAge is how long a known end of the stream is used as the beginning for following a channel of which the log has
// nothing.
const tipAge = time.Second

// tip caches where a stream ended a moment ago. A channel of which the log has nothing can be followed from any earlier
// end of the stream in the same epoch. Asking the server for the end costs more than everything else in attaching.
type tip struct {
	mu     rank.Mutex[rank.StreamsTip]
	epoch  string
	offset uint64
	at     time.Time
}

// recent returns the end of the stream, and whether it is known for this epoch and recent enough.
func (t *tip) recent(epoch string) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offset, t.epoch == epoch && time.Since(t.at) < tipAge
}

// learn records an end that was requested at a time. The epoch must not have changed during the request.
func (t *tip) learn(epoch string, offset uint64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch, t.offset, t.at = epoch, offset, at
}

// end returns where the stream of an app ended, at most tipAge ago.
func (l *Log) end(ctx context.Context, a *appLog, epoch string) (uint64, error) {
	if offset, ok := a.tip.recent(epoch); ok {
		return offset, nil
	}
	asked := time.Now()
	info, err := l.streamInfo(ctx, a)
	if err != nil {
		return 0, err
	}
	if a.currentEpoch() == epoch {
		a.tip.learn(epoch, info.State.LastSeq, asked)
	}
	return info.State.LastSeq, nil
}
