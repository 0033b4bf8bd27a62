package streams

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// tipAge is how long the end of a stream may be taken for where following a channel begins
// of which the log has nothing.
const tipAge = time.Second

// tip remembers where a stream ended a moment ago. A channel of which the log has nothing is
// followed from any place of this life of the log that was its end once, and to ask the
// server for it costs more than all else that attaching does.
type tip struct {
	mu     rank.Mutex[rank.StreamsTip]
	epoch  string
	offset uint64
	at     time.Time
}

// recent returns the end of the stream, if it is known of this life of the log.
func (t *tip) recent(epoch string) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offset, t.epoch == epoch && time.Since(t.at) < tipAge
}

// learn notes an end that was asked for at a time. The epoch must have been the same before
// and after.
func (t *tip) learn(epoch string, offset uint64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch, t.offset, t.at = epoch, offset, at
}

// end is where an app's stream ended, up to a moment ago.
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
