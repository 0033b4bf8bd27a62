package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// erasing has the flags of commands that remove the history of a channel.
type erasing struct {
	target
	reason string
	yes    bool
}

// erased is the answer of the server.
type erased struct {
	Messages uint64 `json:"purged_messages"`
	Stream   string `json:"new_stream_id"`
}

func newPurgeCommand() *cobra.Command {
	var o erasing
	var before string
	cmd := &cobra.Command{
		Use:   "purge CHANNEL",
		Short: "Remove what the log has of a channel",
		Long: `Remove what the log has of a channel, all of it or what is older than --before, on all
gateways and for good. Whoever is subscribed notices nothing; who comes back from an
older place is told that it has expired.`,
		Example: `  sluice purge lobby
  sluice purge lobby --before 4711 --reason "a wrong price"
  sluice purge lobby --before 2026-01-31T12:00:00Z --yes`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := parseMoment("--before", before, time.Now())
			if err != nil {
				return err
			}
			more := map[string]any{"mode": "all"}
			switch {
			case m.serial > 0:
				more = map[string]any{"mode": "before_serial", "before_serial": m.serial}
			case !m.time.IsZero():
				more = map[string]any{"mode": "before_time_ms", "before_time_ms": m.time.UnixMilli()}
			}
			_, err = o.run(cmd, args[0], "purge", more)
			return err
		},
	}
	cmd.Flags().StringVar(&before, "before", "", "keep this event and what follows: a serial, a time, or an age such as -1h")
	o.flags(cmd)
	return cmd
}

func newResetCommand() *cobra.Command {
	var o erasing
	cmd := &cobra.Command{
		Use:   "reset CHANNEL",
		Short: "Remove all of a channel and begin a new stream of it",
		Long: `Remove all that the log has of a channel, and give it another stream id, on all gateways
and for good. Whoever is subscribed gets the next event; who comes back from before is
told that the stream was reset. No other channel is touched.`,
		Example: `  sluice reset lobby --reason "a test"`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := o.run(cmd, args[0], "reset", nil)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "the stream of %s is %s now\n", args[0], done.Stream)
			}
			return err
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *erasing) flags(cmd *cobra.Command) {
	o.target.flags(cmd)
	cmd.Flags().StringVar(&o.reason, "reason", "asked for at the command line", "why, for the log of the server")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask for the name of the channel once more")
}

// run asks for confirmation and sends the request.
func (o *erasing) run(cmd *cobra.Command, channel, operation string, more map[string]any) (done erased, err error) {
	api, err := o.signed(cmd)
	if err != nil {
		return done, err
	}
	if err := o.confirm(cmd, channel, operation); err != nil {
		return done, err
	}
	body := map[string]any{"confirm_channel": channel, "confirm_operation": operation, "reason": o.reason}
	for name, value := range more {
		body[name] = value
	}
	if err := api.Do(cmd.Context(), http.MethodPost, []string{"channels", channel, "history", operation}, nil, body, &done); err != nil {
		return done, o.explain(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s of %s removed\n", counted(int(done.Messages), "event"), channel)
	return done, nil
}

// confirm requires typing the name of the channel.
func (o *erasing) confirm(cmd *cobra.Command, channel, operation string) error {
	if o.yes {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "To %s it for good, type the name of the channel: ", operation)
	if typed := typedLine(cmd); typed != channel {
		if typed == "" {
			fmt.Fprintln(cmd.ErrOrStderr()) // nothing has ended the line of the question
		}
		return errors.New("that is not the name of the channel, and nothing was removed (--yes does not ask)")
	}
	return nil
}
