package follow

import (
	"log/slog"
	"time"
)

// Default gives an option its default value if it has none.
func Default[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// Defaults gives the options that all logs have their default values: four shards of the feed,
// 16,384 messages and [QueueBytes] in the queue of each, eight readings under way, an audit
// each ten seconds, and no lines of a log.
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

// Patience is how long a log that cannot be read at the moment is asked again before whoever
// wants to know something is told: as long as a publish may wait, and five seconds at least.
func Patience(publish time.Duration) time.Duration { return max(publish, 5*time.Second) }

// AttachTimeout bounds the beginning of following a channel, by what a publish may wait.
func AttachTimeout(publish time.Duration) time.Duration { return max(publish, 10*time.Second) }
