package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// repeats are events that the log takes for repetitions by their idempotency keys. It knows a key for two minutes,
// whatever becomes of the event: one that was purged meanwhile would not be stored again. One goroutine uses it.
type repeats struct {
	api *client.Signed
	// trouble is told of what will be tried again, and when.
	trouble func(error, time.Duration)
	// oldest is the serial of the first event of a channel when that was looked at last. It only rises.
	oldest map[string]uint64
	// newest is the highest serial that an answer had for a channel: what is above may have been stored by a request whose
	// answer was lost.
	newest map[string]uint64
	// fresh are channels of which the last event was none that had been removed.
	fresh map[string]bool
}

func newRepeats(api *client.Signed, trouble func(error, time.Duration)) *repeats {
	return &repeats{api: api, trouble: trouble, oldest: map[string]uint64{}, newest: map[string]uint64{}, fresh: map[string]bool{}}
}

// together is how many of the first events may go into one request: one that is stored late must come before
// those that follow it in its channel.
func (r *repeats) together(batch []client.Publish) int {
	for n, p := range batch {
		if !r.fresh[p.Channel] {
			return n + 1
		}
	}
	return len(batch)
}

// publish sends a batch until all of it is stored. A repetition finds what the one before has stored.
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

// send sends a batch once, and returns what of it the log has stored before and does not have any more. That has other
// keys now, made of what was removed and of nothing else, so that repetitions of it are known as well.
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

// gone tells whether an event of a channel has been removed. Removed is always the beginning of a channel. What may
// not be read counts as there.
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
