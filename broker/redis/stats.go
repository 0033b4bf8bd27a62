package redis

import "github.com/sluicehq/sluice/broker/follow"

// Stats may be called at any time from any goroutine.
func (l *Log) Stats() follow.Stats { return l.follow.Stats(l.queues.Len()) }
