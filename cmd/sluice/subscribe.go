package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

type subscribeOptions struct {
	kinds kinds
	target
	asJSON, full       bool
	noDelta, reconnect bool
	algorithm          string
	protocol, count    int
	resume, latest     bool
	rewind             string
	verbose            bool
	stderr             io.Writer
}

func newSubscribeCommand() *cobra.Command {
	o := &subscribeOptions{}
	cmd := &cobra.Command{
		Use:   "subscribe CHANNEL...",
		Short: "Print the events of channels as they come",
		Long: `Print the events of channels as they come, with what each of them cost on the wire.
Deltas are asked for and rebuilt; the summary at the end tells what they saved.
Private channels are signed with the app secret. If the connection is lost, the
command comes back, gets what it missed, and tells of events that it could not get.
With --rewind or --latest it begins with a part of the past.
Presence channels need --user-id. With --encryption-key-file the events of encrypted
channels are shown as they were before.`,
		Example: `  sluice subscribe lobby
  sluice subscribe lobby --rewind 20
  sluice subscribe market --latest
  sluice subscribe presence-room --user-id 7 --user-info '{"name":"Ada"}'
  sluice subscribe host-metrics --json | jq -r .data`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	o.kinds.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per event")
	f.BoolVar(&o.full, "full", false, "do not shorten the data")
	f.BoolVar(&o.noDelta, "no-delta", false, "do not ask for delta compression")
	f.StringVar(&o.algorithm, "algorithm", "", "ask for this delta format only: fossil or xdelta3")
	f.IntVar(&o.protocol, "protocol", 0, "dialect of the protocol: 1 (Pusher) or 2; 0 is 2, or 1 where the server offers nothing else")
	f.IntVarP(&o.count, "count", "n", 0, "leave after this many events, 0 for never")
	f.BoolVar(&o.reconnect, "reconnect", true, "come back when the connection is lost")
	f.BoolVar(&o.resume, "resume", true, "get what was missed while the connection was lost (protocol 2)")
	f.StringVar(&o.rewind, "rewind", "", "begin with the last events: a number of them, or a time as 30s (protocol 2)")
	f.BoolVar(&o.latest, "latest", false, "begin with the newest event of each conflation value (protocol 2)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "report what the connection does")
	return cmd
}

func (o *subscribeOptions) options(stderr io.Writer) (client.Options, error) {
	c := client.Options{URL: o.url, Key: o.key, TLS: o.tls, Dial: o.reach, Delta: !o.noDelta, Reconnect: o.reconnect, NoResume: !o.resume, Auth: o.kinds.sign(o.key, app.Secret(o.secret))}
	switch o.protocol {
	case 1:
		if o.rewind != "" || o.latest {
			return c, usage("--rewind and --latest need protocol 2")
		}
	case 0, 2:
		c.Protocol = pusher.V2
	default:
		return c, usage("--protocol is %d, must be 1 or 2, or 0 for what the server offers", o.protocol)
	}
	switch o.algorithm {
	case "":
	case "fossil", "xdelta3":
		c.Algorithms = []string{o.algorithm}
	default:
		return c, usage("--algorithm is %q, must be fossil or xdelta3", o.algorithm)
	}
	if o.count < 0 {
		return c, usage("--count is %d, must not be negative", o.count)
	}
	if o.verbose {
		c.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	}
	return c, nil
}

// beginning returns the options for the part of the past with which a subscription begins.
func (o *subscribeOptions) beginning() ([]client.SubscribeOption, error) {
	switch {
	case o.rewind != "" && o.latest:
		return nil, usage("--rewind and --latest exclude each other")
	case o.latest:
		return []client.SubscribeOption{client.WithLatest()}, nil
	case o.rewind == "":
		return nil, nil
	}
	if n, err := strconv.Atoi(o.rewind); err == nil && n > 0 {
		return []client.SubscribeOption{client.WithRewind(n)}, nil
	}
	if d, err := time.ParseDuration(o.rewind); err == nil && d > 0 {
		return []client.SubscribeOption{client.WithRewindFor(d)}, nil
	}
	return nil, usage("--rewind is %q, must be a number of events, as 20, or a time, as 30s", o.rewind)
}

// dial connects with a dialect that the server supports.
func (o *subscribeOptions) dial(ctx context.Context, options client.Options) (*client.Client, error) {
	c, err := client.Dial(ctx, options)
	var closed *client.CloseError
	if o.protocol == 0 && o.rewind == "" && !o.latest && errors.As(err, &closed) && closed.Code == int(pusher.CloseUnsupportedProtocol) {
		options.Protocol = pusher.V1
		return client.Dial(ctx, options)
	}
	return c, err
}

func (o *subscribeOptions) run(cmd *cobra.Command, channels []string) error {
	ctx, out, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := o.kinds.check(channels); err != nil {
		return err
	}
	if _, err := o.signed(cmd); err != nil {
		return err
	}
	options, err := o.options(stderr)
	if err != nil {
		return err
	}
	beginning, err := o.beginning()
	if err != nil {
		return err
	}
	t := &tally{}
	o.stderr = stderr
	options.OnStatus = func(s client.Status) { t.status(stderr, s) }
	options.OnControl = func(ev client.Event) { t.control(stderr, ev) }
	c, err := o.dial(ctx, options)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return o.explain(err)
	}
	asking, enough := context.WithCancel(ctx)
	var asks sync.WaitGroup
	defer asks.Wait()
	defer c.Close()
	defer enough()
	granted := make(chan error, 1)
	// Events of the first channels arrive while the next ones are requested.
	asks.Go(func() { granted <- subscribeAll(asking, c, channels, beginning) })
	err = o.follow(ctx, c, out, t, granted, func() {
		fmt.Fprintf(stderr, "subscribed to %s at %s; Ctrl-C to leave\n", strings.Join(channels, ", "), o.url)
	})
	enough()
	_ = c.Close() // its last reports come before the summary
	t.print(stderr)
	return o.explain(err)
}

// subscribeAll returns when all channels are granted, or one is refused.
func subscribeAll(ctx context.Context, c *client.Client, channels []string, beginning []client.SubscribeOption) error {
	for _, channel := range channels {
		if err := c.Subscribe(ctx, channel, beginning...); err != nil {
			return err
		}
	}
	return nil
}

// follow prints events until the end or --count, and calls say when all channels are granted.
func (o *subscribeOptions) follow(ctx context.Context, c *client.Client, out io.Writer, t *tally, granted <-chan error, say func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-granted:
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			granted = nil
			t.begin()
			say()
		case ev, open := <-c.Events():
			if !open {
				return c.Err()
			}
			t.add(ev)
			if err := o.kinds.open(&ev); err != nil {
				t.sealed(o.stderr, ev, err)
			}
			if err := o.print(out, ev); err != nil {
				return err
			}
			if t.events() == o.count {
				return nil
			}
		}
	}
}

// eventLine is an event in the output of `--json`.
type eventLine struct {
	Time      string `json:"time"`
	Channel   string `json:"channel"`
	Event     string `json:"event"`
	Data      string `json:"data"`
	UserID    string `json:"user_id,omitempty"`
	Form      string `json:"form"`
	WireBytes int    `json:"wire_bytes"`
	FullBytes int    `json:"full_bytes"`
	// Number, Base and Key are set for events that take part in delta compression.
	Number    *uint32 `json:"number,omitempty"`
	Base      *uint32 `json:"base,omitempty"`
	Algorithm string  `json:"algorithm,omitempty"`
	Key       *string `json:"key,omitempty"`
	MessageID string  `json:"message_id,omitempty"`
	StreamID  string  `json:"stream_id,omitempty"`
	Serial    uint64  `json:"serial,omitempty"`
}

func (o *subscribeOptions) print(out io.Writer, ev client.Event) error {
	if !o.asJSON {
		data, key := ev.Data, ""
		if !o.full {
			data = shorten(data, shortData)
		}
		if ev.Key != "" {
			key = " [" + shorten(ev.Key, 256) + "]"
		}
		_, err := fmt.Fprintf(out, "%s  %-5s %5d of %5d B  %s %s%s  %s\n",
			ev.Received.Format("15:04:05.000"), ev.Form, ev.WireBytes, ev.FullBytes, ev.Channel, shorten(ev.Name, 200), key, data)
		return err
	}
	line := eventLine{
		Time: ev.Received.Format(time.RFC3339Nano), Channel: ev.Channel, Event: ev.Name, Data: ev.Data, UserID: ev.UserID,
		Form: ev.Form.String(), WireBytes: ev.WireBytes, FullBytes: ev.FullBytes,
		Algorithm: ev.Algorithm, MessageID: ev.MessageID, StreamID: ev.StreamID, Serial: ev.Serial,
	}
	if ev.Form != client.Plain {
		line.Number = &ev.Number
	}
	if ev.Form == client.Delta {
		line.Base = &ev.BaseNumber
	}
	if ev.Keyed {
		line.Key = &ev.Key
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(line)
}
