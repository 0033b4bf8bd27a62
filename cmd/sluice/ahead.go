package main

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/gateway/client"
)

// ahead is a buffer of events that are read ahead: a few batches, each bounded in events and bytes. When it is
// full, the reading waits.
type ahead struct {
	batches chan []*client.HistoryItem
	// err is why the reading ended. It is valid once batches is closed.
	err     error
	reading sync.WaitGroup
}

const (
	batchEvents = 256
	batchBytes  = 64 << 10
	aheadMost   = 8
)

// readAhead reads in its own goroutine until the end, an error, or the end of the context. The caller must end
// the context and call wait.
func readAhead(ctx context.Context, p *past) *ahead {
	a := &ahead{batches: make(chan []*client.HistoryItem, aheadMost)}
	var batch []*client.HistoryItem
	bytes := 0
	give := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case a.batches <- batch:
			batch, bytes = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.settled = give
	a.reading.Go(func() {
		defer close(a.batches)
		a.err = p.read(ctx, func(i *client.HistoryItem) error {
			batch = append(batch, i)
			if bytes += len(i.Message); len(batch) < batchEvents && bytes < batchBytes {
				return nil
			}
			return give()
		})
	})
	return a
}

func (a *ahead) wait() { a.reading.Wait() }
