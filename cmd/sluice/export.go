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
)

type exportOptions struct {
	target
	prefix, start, from, to string
	startSerial             uint64
	quiet                   bool
}

func newExportCommand() *cobra.Command {
	o := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "export CHANNEL [flags] > FILE",
		Short: "Write the history of channels as lines of JSON",
		Long: `Write what the log retains of a channel, or of all channels whose names begin with
--prefix, to standard output: one event per line, oldest first, channel after channel,
with its place, time, id, name, data, tags, conflation value and extras. The end is what
is there when it begins, or --to.

If it stops before the end it prints the command that goes on. "sluice import" publishes
what was exported.`,
		Example: `  sluice export orders > orders.ndjson
  sluice export orders --from -1h | jq -r .data
  sluice export --prefix private-room- > rooms.ndjson`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.prefix, "prefix", "", "all channels whose names begin so; empty is all of the app")
	f.StringVar(&o.start, "start", "", "with --prefix: leave out the channels before this one, in byte order")
	f.Uint64Var(&o.startSerial, "start-serial", 0, "with --start: leave out the events of that channel before this serial")
	f.StringVar(&o.from, "from", "", "begin at this serial, time or time ago, such as -1h; else with the oldest event")
	f.StringVar(&o.to, "to", "", "end with this serial, time or time ago; else with the newest event of this moment")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no summary")
	return cmd
}

func (o *exportOptions) run(cmd *cobra.Command, args []string) error {
	byPrefix := cmd.Flags().Changed("prefix")
	switch {
	case byPrefix == (len(args) == 1):
		return usage("give one channel, or --prefix")
	case o.start != "" && !byPrefix:
		return usage("--start needs --prefix")
	case o.startSerial > 0 && o.start == "":
		return usage("--start-serial needs --start")
	}
	s, err := parseStretch(o.from, o.to, time.Now())
	if err != nil {
		return err
	}
	if byPrefix && (s.to.serial > 0 || s.from.serial > 0) {
		return usage("serials are those of one channel; with --prefix give times")
	}
	api, err := o.signed(cmd)
	if err != nil {
		return err
	}
	e := &export{api: api, out: outflow{out: cmd.OutOrStdout()}, stderr: cmd.ErrOrStderr(), bar: newBar(cmd.ErrOrStderr())}
	if _, here := terminalOf(cmd.OutOrStdout()); here {
		e.bar = &bar{} // the lines themselves show the progress
	}
	if byPrefix {
		err = e.all(cmd.Context(), o, s)
	} else {
		err = e.channel(cmd.Context(), args[0], s)
	}
	e.bar.clear()
	if err == nil && e.losses == 0 {
		if !o.quiet {
			fmt.Fprintf(e.stderr, "%s of %s\n", counted(e.events, "event"), counted(e.channels, "channel"))
		}
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s of %s, and some are missing", counted(e.events, "event"), counted(e.channels, "channel"))
	}
	if e.at == "" && cmd.Context().Err() == nil {
		return o.explain(err)
	}
	return o.goOn(cmd, args, e, s, err)
}

// goOn returns an error with the command that continues.
func (o *exportOptions) goOn(cmd *cobra.Command, args []string, e *export, s stretch, err error) error {
	instead := map[string]string{"from": s.from.String(), "to": s.to.String()}
	switch {
	case len(args) == 0:
		switch {
		case e.at != "" && e.out.done > 0:
			instead["start"], instead["start-serial"] = e.at, strconv.FormatUint(e.out.done+1, 10)
		case e.at != "" && e.at != o.start:
			instead["start"], instead["start-serial"] = e.at, ""
		}
	case e.out.done > 0:
		instead["from"] = strconv.FormatUint(e.out.done+1, 10)
		fallthrough
	default:
		if e.end > 0 {
			instead["to"] = strconv.FormatUint(e.end, 10)
		}
	}
	if cmd.Context().Err() != nil {
		err = fmt.Errorf("stopped after %s", counted(e.events, "event"))
	} else {
		err = o.explain(err)
	}
	hint := "Go on with: " + goOn(cmd, args, instead) + " >> FILE"
	if e.out.torn {
		hint = tornHint + hint
	}
	return hinted{err, hint}
}

// export is one run.
type export struct {
	api    *client.Signed
	out    outflow
	stderr io.Writer
	bar    *bar
	// at is the channel that is being written, and end its last serial.
	at               string
	end              uint64
	events, channels int
	losses           int
	// answered is set once the server has answered.
	answered bool
}

// all writes the channels with a prefix.
func (e *export) all(ctx context.Context, o *exportOptions, s stretch) error {
	after, some := "", false
	for {
		var channels []string
		var more bool
		if err := insist(ctx, e.answered, e.trouble, func() (err error) {
			channels, more, err = e.api.HistoryChannels(ctx, o.prefix, after)
			return err
		}); err != nil {
			return err
		}
		e.answered = true
		for _, c := range channels {
			after = c
			if c < o.start {
				continue
			}
			own := s
			if c == o.start {
				own.least = o.startSerial
			}
			some = true
			var nothing emptyError
			if err := e.channel(ctx, c, own); err != nil && !errors.As(err, &nothing) {
				return err
			}
		}
		if !more {
			break
		}
	}
	if !some {
		return fmt.Errorf("there are no events of channels that begin with %q in the log", o.prefix)
	}
	return nil
}

// channel writes one channel.
func (e *export) channel(ctx context.Context, channel string, s stretch) error {
	first, last, err := ends(ctx, e.api, channel, s, e.answered, e.trouble, e.stderr)
	if err != nil {
		return err
	}
	e.at, e.end, e.out.done, e.answered = channel, last.Serial, 0, true
	s.to = moment{serial: last.Serial}
	p := &past{api: e.api, channel: channel, stretch: s, patience: replayPatience, lost: e.lost, trouble: e.trouble, answered: true}
	err = p.read(ctx, func(i *client.HistoryItem) error {
		r := recordOf(channel, i)
		if err := r.line(&e.out); err != nil {
			return err
		}
		e.events++
		e.bar.update(time.Now(), portion(float64(i.Serial-first.Serial), float64(last.Serial-first.Serial)), fmt.Sprintf("%d events, %s", e.events, shorten(channel, 60)))
		return e.out.end(i.Serial)
	})
	if late := e.out.flush(); err == nil {
		err = late
	}
	if err == nil {
		e.channels++
	}
	return err
}

func (e *export) lost(l loss) {
	e.losses++
	e.bar.clear()
	fmt.Fprintf(e.stderr, "%s: %s\n", shorten(e.at, 200), l)
}

func (e *export) trouble(err error, wait time.Duration) {
	e.bar.clear()
	fmt.Fprintf(e.stderr, "%v; next try in %v\n", err, wait.Round(time.Millisecond))
}
