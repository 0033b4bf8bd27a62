package streams

import "time"

// patience is how long a repair waits for a log that does not answer. The time without a
// connection does not count: nobody could be better off elsewhere by being told of a gap
// that is repaired as soon as there is one. It is not safe for concurrent use.
type patience struct {
	log   *Log
	until time.Time
}

func newPatience(l *Log) *patience {
	return &patience{log: l, until: time.Now().Add(l.opt.RepairTimeout)}
}

// left says whether to go on waiting.
func (p *patience) left() bool {
	now := time.Now()
	if !p.log.read.connected() {
		p.until = now.Add(p.log.opt.RepairTimeout)
	}
	return now.Before(p.until)
}
