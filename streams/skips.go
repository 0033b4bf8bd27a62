package streams

import (
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// skipsPause lies between two lines about skipped events of an app: whoever may publish
// can make as many of them as he likes.
const skipsPause = time.Minute

// skips counts the skipped events of an app for the log of the process.
type skips struct {
	mu   sync.Mutex
	told time.Time
	n    int
}

func (s *skips) note(l *Log, channel string, p *broker.Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if now := time.Now(); now.Sub(s.told) >= skipsPause {
		l.opt.Logger.Warn("events that cannot be delivered were skipped", "events", s.n, "channel", channel,
			"epoch", p.Epoch, "offset", p.Offset, "reason", p.Skipped)
		s.told, s.n = now, 0
	}
}
