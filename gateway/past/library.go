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
	// Most bounds what is kept in memory for all channels, in bytes, and what their snapshots hold
	// besides. Apps is how many share that, nil for one.
	Most int64
	Apps func() int
	// Read is told of each page, Failed of a page that could not be read.
	Read   func()
	Failed func(app, channel string, err error)
	// Cramped is told of a snapshot that has not all values because there was no room; it may be nil.
	Cramped func(app, channel string)
	// Bytes is what is kept beside the snapshots, Values how many values these have.
	Bytes, Values atomic.Int64
	shelf         shelf
}

// Patience bounds how long one request waits for the log, for however many channels.
func (in *Library) Patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(in.Context, in.Timeout)
}
