package past

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/sight"
)

// Library is what the pasts of all channels share.
type Library struct {
	// Log is where the past is read, as readers may see it.
	Log sight.Log
	// Context ends what is read, and Background runs it, false if that is over.
	Context    context.Context
	Background func(func()) bool
	// Timeout bounds one reading, with the time that the log may be out of reach.
	Timeout time.Duration
	// Most bounds what is kept in memory for all channels, in bytes.
	Most int64
	// Read is told of each page, Failed of a page that could not be read.
	Read   func()
	Failed func(app, channel string, err error)
	// Bytes is what is kept, Values how many values the snapshots have.
	Bytes, Values atomic.Int64
}
