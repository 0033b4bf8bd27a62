package hub

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/sight"
)

// library is what the pasts of all channels share.
type library struct {
	// log is where the past is read, as readers may see it.
	log sight.Log
	// ctx ends what is read, and background runs it, false if that is over.
	ctx        context.Context
	background func(func()) bool
	// most bounds what is kept in memory for all channels, in bytes.
	most int64
	// read is told of each page, failed of a page that could not be read.
	read   func()
	failed func(app, channel string, err error)
	// bytes is what is kept, values how many values the snapshots have.
	bytes, values atomic.Int64
}

// pastTimeout bounds one reading.
const pastTimeout = 10 * time.Second
