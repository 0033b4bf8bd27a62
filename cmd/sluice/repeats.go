package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// repeats publishes events that the log may take for repetitions because of their idempotency keys. The log
// remembers a key for two minutes, even if the event is removed: an event that was purged meanwhile would not be
// stored again. It is not safe for concurrent use.
type repeats struct {
	api *client.Signed
	// trouble is called with an error before a retry, and the pause.
	trouble func(error, time.Duration)
	// oldest is the serial of the oldest event of a channel when that was last looked up. It only rises.
	oldest map[string]uint64
	// newest is the highest serial of a channel in an answer. A higher one may have been stored by a request
	// whose answer was lost.
	newest map[string]uint64
	// fresh are channels whose last published event was not one that had been removed.
	fresh map[string]bool
}

func newRepeats(api *client.Signed, trouble func(error, time.Duration)) *repeats {
	return &repeats{api: api, trouble: trouble, oldest: map[string]uint64{}, newest: map[string]uint64{}, fresh: map[string]bool{}}
}

// together returns how many of the first events may be in one request: an event that is stored late must precede
// the following ones of its channel.
func (r *repeats) together(batch []client.Publish) int {
	for n, p := range batch {
		if !r.fresh[p.Channel] {
			return n + 1
		}
	}
	return len(batch)
}

// publish sends a batch until all of it is stored. A repeated request finds what the previous one has stored.
func (r *repeats) publish(ctx context.Context, batch []client.Publish) error {
	removed, err := r.send(ctx, batch)
	for _, p := range batch {
		r.fresh[p.Channel] = true
	}
	for _, p := range removed {
		r.fresh[p.Channel] = false
	}
	for err == nil && len(removed) > 0 {
		removed, err = r.send(ctx, removed)
	}
	return err
}

// send sends a batch once, and returns the events that the log had stored before and no longer has. They get new
// keys, which are derived from the removed event, so that repetitions of them are recognised as well.
func (r *repeats) send(ctx context.Context, batch []client.Publish) (removed []client.Publish, err error) {
	var stored []client.Stored
	tries := 0
	err = r.insist(ctx, func() (err error) {
		tries++
		stored, err = r.api.PublishBatchStored(ctx, batch...)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, s := range stored {
		p := batch[i]
		own := !s.Duplicate || tries > 1 && s.Serial > r.newest[p.Channel]
		r.newest[p.Channel] = max(r.newest[p.Channel], s.Serial)
		if own {
			continue
		}
		gone, err := r.gone(ctx, p.Channel, s.Serial)
		if err != nil {
			return nil, err
		}
		if gone {
			p.IdempotencyKey = "again-" + hexOf(short(p.IdempotencyKey+"\x00"+strconv.FormatUint(s.Serial, 10)))
			removed = append(removed, p)
		}
	}
	return removed, nil
}

func (r *repeats) insist(ctx context.Context, ask func() error) error {
	return insist(ctx, true, func(err error, wait time.Duration) {
		if !busy(err) {
			r.trouble(err, wait)
		}
	}, ask)
}

// gone reports whether an event of a channel was removed. Only the beginning of a channel is ever removed.
// Events that must not be read count as present.
func (r *repeats) gone(ctx context.Context, channel string, serial uint64) (bool, error) {
	if serial < r.oldest[channel] {
		return true, nil
	}
	var page *client.HistoryPage
	err := r.insist(ctx, func() (err error) {
		page, err = r.api.History(ctx, channel, client.HistoryQuery{OldestFirst: true, Limit: 1, StartSerial: 1})
		return err
	})
	var api *client.APIError
	switch {
	case errors.As(err, &api) && api.Status == http.StatusUnprocessableEntity:
		return false, nil
	case err != nil:
		return false, err
	case page.Continuity.TruncatedBy == "channel_history":
		return false, nil
	case len(page.Items) == 0:
		return true, nil
	}
	r.oldest[channel] = page.Items[0].Serial
	return serial < r.oldest[channel], nil
}
