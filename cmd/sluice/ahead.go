package main

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/gateway/client"
)

// ahead is what was read ahead of whoever takes it: a few batches, each with a bound in
// events and bytes. A reader that is further ahead waits.
type ahead struct {
	batches chan []*client.HistoryItem
	// err is why it ended, valid once batches is closed.
	err     error
	reading sync.WaitGroup
}

const (
	batchEvents = 256
	batchBytes  = 64 << 10
	aheadMost   = 8
)

// readAhead reads in a goroutine of its own, until the end, an error, or the context's end.
// The caller ends the context and waits.
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
