package follow

import (
	"log/slog"
	"time"
)

// Default sets an option to value if it has its zero value.
func Default[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// Defaults sets unset options that all logs share: four shards of the feed, a queue of 16,384 messages and
// [QueueBytes] for each shard, eight concurrent readers, an audit every ten seconds, and a logger that
// discards everything.
func Defaults(shards, queue *int, bytes *int64, readers *int, audit *time.Duration, logger **slog.Logger) {
	Default(shards, 4)
	Default(queue, 16384)
	Default(bytes, QueueBytes)
	Default(readers, 8)
	Default(audit, 10*time.Second)
	if *logger == nil {
		*logger = slog.New(slog.DiscardHandler)
	}
}

// Patience is how long reads of an unreadable log are retried before the caller gets an error: the publish
// timeout, but at least five seconds.
func Patience(publish time.Duration) time.Duration { return max(publish, 5*time.Second) }

// AttachTimeout bounds how long a follower may take to begin: the publish timeout, but at least ten seconds.
func AttachTimeout(publish time.Duration) time.Duration { return max(publish, 10*time.Second) }
