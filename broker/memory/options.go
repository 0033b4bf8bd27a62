package memory

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of [Options].
const (
	DefaultMaxMessages   = 1000
	DefaultMaxAge        = 24 * time.Hour
	DefaultMaxBytes      = 64 << 20
	DefaultMaxEventBytes = 1 << 20
	DefaultDedupWindow   = 2 * time.Minute
	DefaultDedupEntries  = 1 << 16
	DefaultQueueItems    = 256
	DefaultQueueBytes    = 1 << 20
)

// Options set the limits of a [Log]. The zero value of a field means its default; zero Options make a log
// without apps.
type Options struct {
	// Apps are the ids of the apps that exist from the start. More can be added
	// with [Log.AddApp].
	Apps []string
	// MaxMessages is the number of publications retained per channel, default
	// 1000. Negative means no such limit; age and bytes still hold.
	MaxMessages int
	// MaxAge is how long a publication is retained, default 24 hours. Negative
	// means no such limit.
	MaxAge time.Duration
	// MaxBytes bounds what one app retains, over all its channels, default 64
	// MiB; the oldest publications of the app go first. Each publication counts
	// as its text plus 512 bytes for the bookkeeping. It must be positive and
	// have room for one event of MaxEventBytes.
	MaxBytes int64
	// MaxEventBytes is the largest event accepted, counted as the sum of its
	// texts, default 1 MiB.
	MaxEventBytes int
	// DedupWindow is how long a DedupID is remembered, default 2 minutes.
	DedupWindow time.Duration
	// DedupEntries bounds the number of ids remembered per app, default 65536.
	// Beyond it the oldest id is forgotten early, which [Stats] counts.
	DedupEntries int
	// QueueItems and QueueBytes bound the queue of one sink, default 256 and 1 MiB. A sink that is further
	// behind is fed from the retained log.
	QueueItems int
	QueueBytes int
	// Now is the clock, default [time.Now]. It must be safe for concurrent use. Times in the log never go
	// backwards, whatever it returns.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.MaxMessages = orDefault(o.MaxMessages, DefaultMaxMessages)
	o.MaxAge = orDefault(o.MaxAge, DefaultMaxAge)
	o.MaxBytes = orDefault(o.MaxBytes, DefaultMaxBytes)
	o.MaxEventBytes = orDefault(o.MaxEventBytes, DefaultMaxEventBytes)
	o.DedupWindow = orDefault(o.DedupWindow, DefaultDedupWindow)
	o.DedupEntries = orDefault(o.DedupEntries, DefaultDedupEntries)
	o.QueueItems = orDefault(o.QueueItems, DefaultQueueItems)
	o.QueueBytes = orDefault(o.QueueBytes, DefaultQueueBytes)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// validate returns all problems of options whose defaults are set.
func (o Options) validate() error {
	var problems []error
	positive := func(field string, v int64) {
		if v < 1 {
			problems = append(problems, fmt.Errorf("%s is %d, must be at least 1", field, v))
		}
	}
	positive("MaxBytes", o.MaxBytes)
	positive("MaxEventBytes", int64(o.MaxEventBytes))
	positive("DedupWindow", int64(o.DedupWindow))
	positive("DedupEntries", int64(o.DedupEntries))
	positive("QueueItems", int64(o.QueueItems))
	positive("QueueBytes", int64(o.QueueBytes))
	if need := int64(o.MaxEventBytes) + entryOverhead; o.MaxBytes > 0 && o.MaxBytes < need {
		problems = append(problems, fmt.Errorf(
			"MaxBytes is %d, must be at least MaxEventBytes + %d = %d", o.MaxBytes, entryOverhead, need))
	}
	return errors.Join(problems...)
}
