package past

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/sight"
)

// Library is what the pasts of all channels share.
type Library struct {
	// Log is the log, as far as readers may see it.
	Log sight.Log
	// Context ends all readings. Background runs a function in the background, and reports false if it has
	// ended.
	Context    context.Context
	Background func(func()) bool
	// Timeout bounds one reading, including the time in which the log cannot be reached.
	Timeout time.Duration
	// Most bounds, in bytes, the recent publications of all channels that are kept in memory, and separately
	// what their snapshots hold. Apps returns the number of apps that share that, nil for one.
	Most int64
	Apps func() int
	// Read is called for each reading of the log, Failed for a reading that failed.
	Read   func()
	Failed func(app, channel string, err error)
	// Cramped is called for a snapshot without some values because there was no room; it may be nil.
	Cramped func(app, channel string)
	// Bytes is the size of what is kept without the snapshots, Values the number of values in snapshots.
	Bytes, Values atomic.Int64
	shelf         shelf
}

// Patience returns a context that bounds how long one request waits for the log, for any number of channels.
func (in *Library) Patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(in.Context, in.Timeout)
}
