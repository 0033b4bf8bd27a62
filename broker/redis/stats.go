package redis

import "github.com/sluicehq/sluice/broker/follow"

// Stats may be called at any time from any goroutine.
func (l *Log) Stats() follow.Stats {
	s := l.stats.Stats()
	s.Attached = l.follow.Attached()
	for _, shard := range l.shards {
		s.Queued += shard.queue.Len()
	}
	return s
}
