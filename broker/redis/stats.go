package redis

import "github.com/sluicehq/sluice/broker/follow"

// Stats returns the statistics of the log. It is safe for concurrent use.
func (l *Log) Stats() follow.Stats { return l.follow.Stats(l.queues.Len()) }
