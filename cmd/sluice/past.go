package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
)

// past reads a stretch of a channel's history, oldest first and each event once, with as many requests as
// necessary. Each request begins with the last event that was read: if that is still there, nothing was lost in
// between. It is not safe for concurrent use.
type past struct {
	api     *client.Signed
	channel string
	stretch stretch
	// lost is called for events that may be missing; required.
	lost func(loss)
	// trouble is called with an error before a retry, and the pause; may be nil.
	trouble func(err error, wait time.Duration)
	// patience is how long the server may be unreachable once it has answered; 0 means forever.
	patience time.Duration
	// settled is called at the end of each answer; may be nil.
	settled func() error

	epoch string
	last  uint64
	// state is the continuity of the last answer. begun is that of the answer with the beginning of the stretch,
	// nil if that was incomplete; only this one says why the beginning is missing.
	state client.HistoryContinuity
	begun *client.HistoryContinuity
	// chunk is how many events are requested at once: more if they are processed fast, few if the server would
	// wait for a slow reader.
	chunk int
	// answered says that the server has answered before: if it cannot be reached, it is down, and the address is
	// not wrong.
	answered bool
	// due is set if the last answer was not the end.
	due bool
}

// loss says that events between two serials may be missing.
type loss struct {
	After uint64 `json:"after_serial"`
	Next  uint64 `json:"next_serial,omitempty"`
	// Anew says that the log began a new epoch, whose first serial is Next.
	Anew bool `json:"began_anew,omitempty"`
}

const (
	fewest, most = 100, 20_000
	// quick and slow are the durations of an answer below and above which chunk is changed.
	quick, slow = time.Second, 5 * time.Second
	// maxPause is the longest pause between attempts to reach a server.
	maxPause = 5 * time.Second
)

// errAnew is the error of continuing to read in a log that has begun a new epoch.
var errAnew = errors.New("the log of the channel began anew; what was not read yet is gone")

// takerError is an error of the function that takes events, not of the server.
type takerError struct{ error }

func (e takerError) Unwrap() error { return e.error }

// read reads up to the end, and may be called again for later events. Errors are those of each, of the context,
// [errAnew], or that of the last attempt.
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

// insist repeats ask until it succeeds, while its error may be temporary, for at most 30 seconds. answered says
// that the server has answered before; otherwise an unreachable server is not retried. trouble is called before
// each retry; may be nil.
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

// passing reports whether an error may be temporary.
func passing(err error) bool {
	var api *client.APIError
	if errors.As(err, &api) {
		return api.Status == http.StatusTooManyRequests || api.Status >= 500
	}
	return true
}

// busy reports whether the server has answered that it cannot serve the request now.
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

// ask sends one request, and reports whether there is more.
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
		p.lost(loss{After: p.last}) // even the last event that was read was removed, and later ones as well
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
