package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
)

// follower prints the events of a channel, and then new ones: it reads the history again and again, from the
// last event on. So it prints what the history has, in order, each event once, and detects events that were
// removed before it read them.
type follower struct {
	past   *past
	out    *listing
	stderr io.Writer
	// printed is the number of printed events.
	printed int
	// away is true while the server cannot be reached, which is reported once.
	away bool
}

const (
	// followBusy and followIdle are the pauses between two readings, after one that found events and after many
	// that did not.
	followBusy = 100 * time.Millisecond
	followIdle = 500 * time.Millisecond
)

// follow implements `history --follow`: it prints the newest --limit events, or all from --from, --since or
// --oldest on, and then new ones.
func (o *historyOptions) follow(cmd *cobra.Command, api *client.Signed, channel string) error {
	ctx := cmd.Context()
	f := &follower{out: &listing{out: cmd.OutOrStdout(), asJSON: o.asJSON, full: o.full}, stderr: cmd.ErrOrStderr()}
	f.past = &past{api: api, channel: channel, lost: f.lost, trouble: f.trouble}
	f.past.stretch.from.serial = o.from
	if o.since > 0 {
		f.past.stretch.from.time = time.Now().Add(-o.since)
	}
	bounded := o.oldest || o.since > 0 || o.from > 0
	if o.limit > 0 && (!bounded || cmd.Flags().Changed("limit")) {
		if err := f.beginWith(ctx, o.limit); err != nil {
			return o.ended(ctx, f, err)
		}
	}
	return o.ended(ctx, f, f.run(ctx))
}

func (o *historyOptions) ended(ctx context.Context, f *follower, err error) error {
	if ctx.Err() == nil {
		return o.explain(err)
	}
	if !o.asJSON {
		fmt.Fprintln(f.stderr, counted(f.printed, "event"))
	}
	return nil
}

// beginWith finds where the newest events begin, limit of them.
func (f *follower) beginWith(ctx context.Context, limit int) error {
	q := f.past.stretch.query()
	found := 0
	for found < limit {
		q.Limit = min(limit-found, most)
		var end *client.HistorySummary
		before := found
		err := insist(ctx, false, nil, func() (err error) {
			found = before // an answer may have been incomplete
			end, err = f.past.api.HistoryLines(ctx, f.past.channel, q, func(i *client.HistoryItem) error {
				found++
				f.past.stretch.from = moment{serial: i.Serial}
				return nil
			}, nil)
			return err
		})
		switch {
		case err != nil:
			return err
		case !end.HasMore:
			return nil
		}
		q.Cursor = end.NextCursor
	}
	return nil
}

func (f *follower) run(ctx context.Context) error {
	pause := followBusy
	for {
		before := f.printed
		err := f.past.read(ctx, f.print)
		switch {
		case errors.Is(err, errAnew):
			f.lost(loss{After: f.past.last, Anew: true})
			f.past.epoch, f.past.last, f.past.stretch = "", 0, stretch{}
			continue
		case err != nil:
			return err
		}
		f.back()
		pause = min(pause*5/4, followIdle)
		if f.printed > before {
			pause = followBusy
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

func (f *follower) print(i *client.HistoryItem) error {
	f.back()
	f.printed++
	return f.out.print(i)
}

// lost reports a gap: with JSON output among the events, else on standard error.
func (f *follower) lost(l loss) {
	if f.out.asJSON {
		_ = json.NewEncoder(f.out.out).Encode(map[string]loss{"gap": l})
		return
	}
	fmt.Fprintln(f.stderr, l)
}

func (f *follower) trouble(err error, _ time.Duration) {
	if !f.away && !busy(err) {
		f.away = true
		fmt.Fprintf(f.stderr, "%v; trying again\n", err)
	}
}

func (f *follower) back() {
	if f.away {
		f.away = false
		fmt.Fprintln(f.stderr, "connected again")
	}
}
