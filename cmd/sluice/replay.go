package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// replayPatience is how long a server may be unreachable during a replay.
const replayPatience = 30 * time.Second

type replayOptions struct {
	target
	from, to, speed, into string
	asJSON, full          bool
}

func newReplayCommand() *cobra.Command {
	o := &replayOptions{}
	cmd := &cobra.Command{
		Use:   "replay CHANNEL",
		Short: "Play the past of a channel again, at any pace",
		Long: `Play what the log retains of a channel again, oldest first, as fast as it was
published or at another speed: to the terminal, or into another channel. The end is
what is there when it begins, or --to.

--from and --to are a serial, a time, or how long ago. Times are those at which the log
stored the events, and the pace is kept to them, so that it does not drift.

Into a channel, events keep their names, data, tags, conflation values and extras. They
are marked as a replay (extras.replay), and their message ids are made of where they
come from and go to, so that what is there already is not published once more when a
replay is repeated.

Ctrl-C stops and prints the command that goes on; the exit status is then 1.`,
		Example: `  sluice replay lobby --from -1h
  sluice replay ticks --from '2026-01-31 09:00' --to '2026-01-31 09:30' --speed 10
  sluice replay ticks --from 4711 --speed max --json > ticks.ndjson
  sluice replay ticks --from -1h --to-channel ticks-again`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "begin at this serial, time or time ago, such as -1h; else with the oldest event")
	f.StringVar(&o.to, "to", "", "end with this serial, time or time ago; else with the newest event of this moment")
	f.StringVar(&o.speed, "speed", "1", "how much faster than it was, or max")
	f.StringVar(&o.into, "to-channel", "", "publish into this channel instead of printing")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per line")
	f.BoolVar(&o.full, "full", false, "do not shorten the data")
	return cmd
}

func (o *replayOptions) run(cmd *cobra.Command, channel string) error {
	s, err := parseStretch(o.from, o.to, time.Now())
	if err != nil {
		return err
	}
	speed, err := parseSpeed(o.speed)
	if err != nil {
		return err
	}
	if err := o.checkInto(cmd, channel); err != nil {
		return err
	}
	if err := o.complete(cmd, false); err != nil {
		return err
	}
	span, stop := recordReplay(o.config, channel)
	defer stop()
	o.place = span.Place()
	err = o.play(cmd, channel, s, speed)
	span.End(0, 0, err)
	return err
}

// play runs the replay, after the command line was checked.
func (o *replayOptions) play(cmd *cobra.Command, channel string, s stretch, speed float64) error {
	api, err := o.requests()
	if err != nil {
		return err
	}
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	r := &replay{pace: tempo{speed: speed}, bar: newBar(stderr), stderr: stderr}
	if r.first, r.final, err = ends(ctx, api, channel, s, false, r.trouble, stderr); err != nil {
		return o.early(cmd, err)
	}
	// Events that are published meanwhile are not part of it.
	s.to = moment{serial: r.final.Serial}
	r.past = &past{api: api, channel: channel, stretch: s, patience: replayPatience, answered: true, lost: r.lost, trouble: r.trouble}
	screen := &screenful{to: outflow{out: cmd.OutOrStdout()}, bar: r.bar}
	screen.listing = listing{out: &screen.to, asJSON: o.asJSON, full: o.full}
	r.sink = screen
	if o.into != "" {
		c := newCopier(api, channel, o.into)
		c.answered, c.trouble = true, r.trouble
		if err := c.look(ctx, r.first.PublishedAt(), stderr); err != nil {
			return o.early(cmd, err)
		}
		r.sink = c
	}
	err = r.run(ctx)
	return o.finish(cmd, channel, r, err)
}

// checkInto refuses channels into which nothing can be replayed.
func (o *replayOptions) checkInto(cmd *cobra.Command, channel string) error {
	if !cmd.Flags().Changed("to-channel") {
		return nil
	}
	from, to := pusher.KindOf(channel), pusher.KindOf(o.into)
	switch {
	case o.into == "":
		return usage("--to-channel is empty")
	case o.asJSON || o.full:
		return usage("--json and --full print, and --to-channel does not")
	case o.into == channel:
		return usage("--to-channel is the channel itself; it would be read while it is written")
	case from.Encrypted() || to.Encrypted():
		return usage("--to-channel: the data of an encrypted channel is encrypted for that channel alone")
	}
	return nil
}

// early ends a replay before its first event.
func (o *replayOptions) early(cmd *cobra.Command, err error) error {
	if cmd.Context().Err() == nil {
		return o.explain(err)
	}
	return errors.New("stopped; nothing was replayed")
}

// finish prints the result and how to continue.
func (o *replayOptions) finish(cmd *cobra.Command, channel string, r *replay, err error) error {
	r.bar.clear()
	stopped := cmd.Context().Err() != nil
	if err == nil || stopped {
		fmt.Fprintln(r.stderr, r.summary(channel, o.into))
	}
	if err == nil {
		return r.missing()
	}
	next := r.first.Serial
	if r.done > 0 {
		next = r.done + 1
	}
	again := goOn(cmd, []string{channel}, map[string]string{"from": strconv.FormatUint(next, 10), "to": strconv.FormatUint(r.final.Serial, 10)})
	hint := "Go on with: " + again
	if r.sink.torn() {
		hint = tornHint + hint
	}
	if stopped {
		return hinted{fmt.Errorf("stopped after %s", counted(r.events, "event")), hint}
	}
	return hinted{o.explain(err), hint}
}

// replay is one run.
type replay struct {
	past   *past
	pace   tempo
	sink   outlet
	bar    *bar
	stderr io.Writer
	// first and final are the first and the last event.
	first, final *client.HistoryItem
	// done is the serial of the last event that was written or published, and events their number.
	done   uint64
	events int
	// losses counts reports of events that may be missing.
	losses int
}

// outlet is the destination of a replay. It is not safe for concurrent use.
type outlet interface {
	// take accepts an event. It may hold it until flush, or until there are enough.
	take(ctx context.Context, i *client.HistoryItem) error
	// flush writes or publishes the held events.
	flush(ctx context.Context) error
	// through returns the serial of the last event that was written or published, 0 if there is none.
	through() uint64
	// torn reports whether a part of the next event was written as well.
	torn() bool
	// remarks returns text for the summary.
	remarks() string
}

// missing returns the error of a replay that could not read everything.
func (r *replay) missing() error {
	if r.losses == 0 {
		return nil
	}
	return errors.New("events may be missing")
}

// lost is called by the reading goroutine.
func (r *replay) lost(l loss) {
	r.losses++
	r.bar.clear()
	fmt.Fprintln(r.stderr, l)
}

func (l loss) String() string {
	switch {
	case l.Anew:
		return "the log of the channel began anew; what was published before and not read is gone"
	case l.Next > 0:
		return fmt.Sprintf("events between the serials %d and %d may be missing: they were removed before they could be read", l.After, l.Next)
	}
	return fmt.Sprintf("events after serial %d may be missing: they were removed before they could be read", l.After)
}

func (r *replay) trouble(err error, wait time.Duration) {
	r.bar.clear()
	fmt.Fprintf(r.stderr, "%v; next try in %v\n", err, wait.Round(time.Millisecond))
}

// run reads ahead and hands over events when they are due, until the end.
func (r *replay) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	ahead := readAhead(reading, r.past)
	defer func() {
		stop()
		ahead.wait()
	}()
	err := r.play(ctx, ahead)
	// Events that were taken before a stop are still written or published.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if late := r.sink.flush(last); late != nil && (err == nil || ctx.Err() != nil) {
		err = late
	}
	r.done = r.sink.through()
	return err
}

func (r *replay) play(ctx context.Context, ahead *ahead) error {
	for {
		var batch []*client.HistoryItem
		select {
		case batch = <-ahead.batches:
		default:
			if err := r.sink.flush(ctx); err != nil {
				return err
			}
			select {
			case batch = <-ahead.batches:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if batch == nil {
			return ahead.err
		}
		for _, i := range batch {
			if err := r.await(ctx, i); err != nil {
				return err
			}
			if err := r.sink.take(ctx, i); err != nil {
				return err
			}
			r.events++
		}
	}
}

// await waits until an event is due.
func (r *replay) await(ctx context.Context, i *client.HistoryItem) error {
	now := time.Now()
	due := r.pace.due(i.PublishedAt(), now)
	for due.After(now) {
		if err := r.sink.flush(ctx); err != nil {
			return err
		}
		r.show(now, i)
		if err := rest(ctx, min(due.Sub(now), time.Second)); err != nil {
			return err
		}
		now = time.Now()
	}
	r.show(now, i)
	return ctx.Err()
}

// show updates the progress: by time if there is a pace, else by serial.
func (r *replay) show(now time.Time, i *client.HistoryItem) {
	if r.bar.out == nil {
		return
	}
	part := portion(float64(i.PublishedAtMS-r.first.PublishedAtMS), float64(r.final.PublishedAtMS-r.first.PublishedAtMS))
	if r.pace.speed == 0 {
		part = portion(float64(i.Serial-r.first.Serial), float64(r.final.Serial-r.first.Serial))
	}
	r.bar.update(now, part, fmt.Sprintf("%d events, %s", r.events, clockOf(i.PublishedAt())))
}

func portion(a, b float64) float64 {
	if b <= 0 {
		return 1
	}
	return a / b
}

func (r *replay) summary(channel, into string) string {
	where := ""
	if into != "" {
		where = " into " + into
	}
	return fmt.Sprintf("%s of %s replayed%s%s", counted(r.events, "event"), channel, where, r.sink.remarks())
}

// ends finds the first and the last event of a stretch, and prints what of it cannot be read. answered says that
// the server has answered before.
func ends(ctx context.Context, api *client.Signed, channel string, s stretch, answered bool, trouble func(error, time.Duration), stderr io.Writer) (first, last *client.HistoryItem, err error) {
	q := s.query()
	q.Limit = 1
	var end *client.HistorySummary
	one := func(to **client.HistoryItem) error {
		return insist(ctx, answered, trouble, func() (err error) {
			end, err = api.HistoryLines(ctx, channel, q, func(i *client.HistoryItem) error { *to = i; return nil }, nil)
			return err
		})
	}
	if err := one(&last); err != nil {
		return nil, nil, err
	}
	if last == nil {
		return nil, nil, s.empty(channel, end.Continuity)
	}
	all := end.Continuity
	q.OldestFirst, q.EndSerial, answered = true, last.Serial, true
	if err := one(&first); err != nil {
		return nil, nil, err
	}
	if first == nil {
		return nil, nil, emptyError{fmt.Errorf("what there was of channel %s was removed a moment ago", shorten(channel, 200))}
	}
	switch c := all; {
	case c.TruncatedBy == "channel_history":
		fmt.Fprintf(stderr, "it begins with serial %d of %s: channel_history of the app lets nothing older be read\n", first.Serial, clockOf(first.PublishedAt()))
	case c.TruncatedByRetention:
		fmt.Fprintf(stderr, "it begins with serial %d of %s: the log has nothing older\n", first.Serial, clockOf(first.PublishedAt()))
	}
	return first, last, nil
}

// emptyError is the error of a stretch without events.
type emptyError struct{ error }

// empty returns why there are no events in a stretch.
func (s stretch) empty(channel string, c client.HistoryContinuity) error {
	if c.RetainedMessages == 0 {
		err := emptyError{fmt.Errorf("there are no events of channel %s in the log", shorten(channel, 200))}
		if c.TruncatedBy != "" {
			return hinted{err, "channel_history of the app lets none of them be read."}
		}
		return hinted{err, "Check the name of the channel and --app. What is older than the retention of the app is gone."}
	}
	said := func(flag string, m moment) string {
		switch {
		case m.serial > 0:
			return fmt.Sprintf(" %s serial %d", flag, m.serial)
		case !m.time.IsZero():
			return fmt.Sprintf(" %s %s", flag, clockOf(m.time))
		}
		return ""
	}
	return emptyError{fmt.Errorf("there are no events%s%s: what can be read has the serials %d to %d, stored from %s to %s", said("from", s.from), said("up to", s.to),
		c.OldestSerial, c.NewestSerial, clockOf(time.UnixMilli(c.OldestMS)), clockOf(time.UnixMilli(c.NewestMS)))}
}

// screenful prints a replay.
type screenful struct {
	listing
	to  outflow
	bar *bar
}

func (t *screenful) take(_ context.Context, i *client.HistoryItem) error {
	t.bar.clear()
	if err := t.print(i); err != nil {
		return err
	}
	return t.to.end(i.Serial)
}

func (t *screenful) flush(context.Context) error { return t.to.flush() }
func (t *screenful) through() uint64             { return t.to.done }
func (t *screenful) torn() bool                  { return t.to.torn }
func (t *screenful) remarks() string             { return "" }
