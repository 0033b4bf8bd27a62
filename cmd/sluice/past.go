package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// past reads a stretch of a channel's history, oldest first and each event once, with as
// many requests as it takes. It begins each request with the last event that it has: if that
// is still there, nothing was lost in between. One goroutine uses it.
type past struct {
	api     *client.Signed
	channel string
	stretch stretch
	// lost is told of events that may be missing; required.
	lost func(loss)
	// trouble is told of what will be tried again, and when; nil is not.
	trouble func(err error, wait time.Duration)
	// patience is how long the server may be away once it has answered; 0 is for ever.
	patience time.Duration
	// settled is called at the end of each answer; nil is not.
	settled func() error

	epoch string
	last  uint64
	// state is what the last answer said of the channel; begun what the one did that had the
	// beginning of the stretch, nil if that was broken off. Only that one says what cuts it.
	state client.HistoryContinuity
	begun *client.HistoryContinuity
	// chunk is how many events are asked for at once: more where they are taken fast, few
	// where the server would wait for a reader who takes them slowly.
	chunk int
	// answered says that the server has answered before: if it cannot be reached it is away, and the address is not wrong.
	answered bool
	// due says that the last answer was not the end.
	due bool
}

// loss says that events after a serial and before another one may be missing.
type loss struct {
	After uint64 `json:"after_serial"`
	Next  uint64 `json:"next_serial,omitempty"`
	// Anew means that the log began a new life, of which Next is the first serial.
	Anew bool `json:"began_anew,omitempty"`
}

const (
	fewest, most = 100, 20_000
	// quick and slow are how long an answer takes that should have been larger or smaller.
	quick, slow = time.Second, 5 * time.Second
	// maxPause is between tries to reach a server.
	maxPause = 5 * time.Second
)

// errAnew is the error of reading on in a log that has begun anew.
var errAnew = errors.New("the log of the channel began anew; what was not read yet is gone")

// takerError is what the taker of events said, and not the server.
type takerError struct{ error }

func (e takerError) Unwrap() error { return e.error }

// read gives what there is, up to the end, and may be called again for what came meanwhile.
// The errors are those of each, of the context, [errAnew], or that of the last try.
func (p *past) read(ctx context.Context, each func(*client.HistoryItem) error) error {
	pause, since := time.Duration(0), time.Now()
	for {
		before := p.last
		more, err := p.ask(ctx, each)
		var taker takerError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &taker):
			return taker.error
		case err == nil && !more:
			return nil
		case err == nil, errors.Is(err, client.ErrBrokenOff) && p.last != before:
			pause, since = 0, time.Now()
			continue
		case errors.Is(err, errAnew), !passing(err), !p.answered && !busy(err):
			return err
		case p.patience > 0 && time.Since(since) > p.patience:
			return err
		}
		if p.last != before {
			pause, since = 0, time.Now()
		}
		pause = min(max(2*pause, 200*time.Millisecond), maxPause)
		wait := pause
		var api *client.APIError
		if errors.As(err, &api) {
			wait = max(wait, api.RetryAfter)
		}
		if p.trouble != nil {
			p.trouble(err, wait)
		}
		if err := rest(ctx, wait); err != nil {
			return err
		}
	}
}

// insist asks until that succeeds, for 30 seconds at most, as long as what is wrong may pass. answered says that the server
// has answered before; without that, one that cannot be reached is not waited for. trouble is told of each further try; nil is not.
func insist(ctx context.Context, answered bool, trouble func(error, time.Duration), ask func() error) error {
	since, pause := time.Now(), 200*time.Millisecond
	for {
		err := ask()
		if err == nil || ctx.Err() != nil || !passing(err) || !answered && !busy(err) || time.Since(since) > replayPatience {
			return err
		}
		wait := pause
		var api *client.APIError
		if errors.As(err, &api) {
			wait, answered = max(wait, api.RetryAfter), true
		}
		if trouble != nil {
			trouble(err, wait)
		}
		if err := rest(ctx, wait); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// passing says whether an error may go away by itself.
func passing(err error) bool {
	var api *client.APIError
	if errors.As(err, &api) {
		return api.Status == http.StatusTooManyRequests || api.Status >= 500
	}
	return true
}

// busy says whether a server answered that it cannot just now.
func busy(err error) bool {
	var api *client.APIError
	return errors.As(err, &api) && (api.Status == http.StatusTooManyRequests || api.Status == http.StatusServiceUnavailable)
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ask sends one request, and says whether there is more.
func (p *past) ask(ctx context.Context, each func(*client.HistoryItem) error) (more bool, err error) {
	p.chunk = min(max(p.chunk, 2*fewest), most)
	q := p.stretch.query()
	q.OldestFirst, q.Limit = true, p.chunk
	if p.last > 0 {
		q.StartSerial = p.last
	}
	began, taken, first, from := time.Now(), 0, true, p.last
	end, err := p.api.HistoryLines(ctx, p.channel, q, func(i *client.HistoryItem) error {
		isFirst := first
		first = false
		switch {
		case p.epoch != "" && i.StreamID != p.epoch:
			return errAnew
		case isFirst && p.last > 0 && i.Serial == p.last:
			return nil
		case isFirst && p.last > 0:
			p.lost(loss{After: p.last, Next: i.Serial})
		}
		if err := each(i); err != nil {
			return takerError{err}
		}
		p.epoch, p.last = i.StreamID, i.Serial
		taken++
		return nil
	}, func(after uint64) { p.lost(loss{After: after}) })
	switch took := time.Since(began); {
	case took > slow:
		p.chunk = max(p.chunk/2, fewest)
	case took < quick && taken >= p.chunk-1:
		p.chunk *= 2
	}
	if p.settled != nil {
		if err := p.settled(); err != nil {
			return false, takerError{err}
		}
	}
	if err != nil {
		p.due = p.due || p.stretch.to.serial > p.last || taken > 0 && errors.Is(err, client.ErrBrokenOff)
		return false, err
	}
	if first && p.last > 0 && p.due {
		p.lost(loss{After: p.last}) // Even the last event that was read has gone, and what came behind it.
	}
	p.answered, p.due = true, end.HasMore
	if p.state = end.Continuity; from == 0 {
		p.begun = &end.Continuity
	}
	if p.epoch != "" && p.state.StreamID != "" && p.state.StreamID != p.epoch {
		return false, errAnew
	}
	return end.HasMore, nil
}
