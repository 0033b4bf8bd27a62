package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

type subscribeOptions struct {
	target
	asJSON, full       bool
	noDelta, reconnect bool
	algorithm          string
	protocol, count    int
	verbose            bool
}

func newSubscribeCommand() *cobra.Command {
	o := &subscribeOptions{}
	cmd := &cobra.Command{
		Use:   "subscribe CHANNEL...",
		Short: "Print the events of channels as they come",
		Long: `Print the events of channels as they come, with what each of them cost on the wire.
Deltas are asked for and rebuilt; the summary at the end tells what they saved.
Private channels are signed with the app secret. If the connection is lost, the
command comes back as any client would.`,
		Example: `  sluice subscribe lobby
  sluice subscribe host-metrics --json | jq -r .data`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per event")
	f.BoolVar(&o.full, "full", false, "do not shorten the data")
	f.BoolVar(&o.noDelta, "no-delta", false, "do not ask for delta compression")
	f.StringVar(&o.algorithm, "algorithm", "", "ask for this delta format only: fossil or xdelta3")
	f.IntVar(&o.protocol, "protocol", 1, "dialect of the protocol: 1 (Pusher) or 2")
	f.IntVarP(&o.count, "count", "n", 0, "leave after this many events, 0 for never")
	f.BoolVar(&o.reconnect, "reconnect", true, "come back when the connection is lost")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "report what the connection does")
	return cmd
}

func (o *subscribeOptions) options(stderr io.Writer, api *client.Signed) (client.Options, error) {
	c := client.Options{URL: o.url, Key: o.key, Delta: !o.noDelta, Reconnect: o.reconnect, Auth: api.SignChannel}
	switch o.protocol {
	case 1:
	case 2:
		c.Protocol = pusher.V2
	default:
		return c, usage("--protocol is %d, must be 1 or 2", o.protocol)
	}
	switch o.algorithm {
	case "":
	case "fossil", "xdelta3":
		c.Algorithms = []string{o.algorithm}
	default:
		return c, usage("--algorithm is %q, must be fossil or xdelta3", o.algorithm)
	}
	if o.count < 0 {
		return c, usage("--count must not be negative")
	}
	if o.verbose {
		c.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	}
	return c, nil
}

func (o *subscribeOptions) run(cmd *cobra.Command, channels []string) error {
	ctx, out, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	api, err := o.signed(cmd)
	if err != nil {
		return err
	}
	options, err := o.options(stderr, api)
	if err != nil {
		return err
	}
	t := &tally{}
	options.OnStatus = func(s client.Status) { t.status(stderr, s) }
	c, err := client.Dial(ctx, options)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return o.explain(err)
	}
	defer c.Close()
	for _, channel := range channels {
		if err := c.Subscribe(ctx, channel); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return o.explain(err)
		}
	}
	fmt.Fprintf(stderr, "subscribed to %s at %s; Ctrl-C to leave\n", strings.Join(channels, ", "), o.url)
	t.started = time.Now()
	err = o.follow(ctx, c, out, t)
	t.print(stderr)
	return o.explain(err)
}

// follow prints events until somebody has enough.
func (o *subscribeOptions) follow(ctx context.Context, c *client.Client, out io.Writer, t *tally) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, open := <-c.Events():
			if !open {
				return c.Err()
			}
			t.add(ev)
			if err := o.print(out, ev); err != nil {
				return err
			}
			if t.events() == o.count {
				return nil
			}
		}
	}
}

// eventLine is an event as `--json` prints it.
type eventLine struct {
	Time      string `json:"time"`
	Channel   string `json:"channel"`
	Event     string `json:"event"`
	Data      string `json:"data"`
	UserID    string `json:"user_id,omitempty"`
	Form      string `json:"form"`
	WireBytes int    `json:"wire_bytes"`
	FullBytes int    `json:"full_bytes"`
	// Numbers and keys are there for events that take part in deltas.
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

// tally counts what came, for the summary. The reader of the connection reports
// to it as well as the printer.
type tally struct {
	started time.Time

	mu         sync.Mutex
	forms      [3]int
	wire, full int
	lost       int // connections
	undecoded  int
}

func (t *tally) add(ev client.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forms[ev.Form]++
	t.wire += ev.WireBytes
	t.full += ev.FullBytes
}

func (t *tally) events() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forms[client.Plain] + t.forms[client.Full] + t.forms[client.Delta]
}

func (t *tally) status(stderr io.Writer, s client.Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var undecodable *client.DeltaError
	switch {
	case errors.As(s.Err, &undecodable):
		t.undecoded++
		fmt.Fprintf(stderr, "an event was lost: %v\n", s.Err)
	case s.Connected && s.Err != nil:
		fmt.Fprintf(stderr, "%v\n", s.Err)
	case s.Connected:
		fmt.Fprintln(stderr, "connected again; events may have been missed")
	default:
		if t.lost++; s.Retry > 0 {
			fmt.Fprintf(stderr, "%v; next try in %v\n", s.Err, s.Retry.Round(time.Millisecond))
		} else {
			fmt.Fprintf(stderr, "%v; trying again\n", s.Err)
		}
	}
}

func (t *tally) print(stderr io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.forms[client.Plain] + t.forms[client.Full] + t.forms[client.Delta]
	fmt.Fprintf(stderr, "\n%d events in %v: %d full, %d as delta\n", n, time.Since(t.started).Round(100*time.Millisecond),
		t.forms[client.Plain]+t.forms[client.Full], t.forms[client.Delta])
	if n > 0 {
		saved := t.full - t.wire
		fmt.Fprintf(stderr, "%d bytes received, %d without deltas: %d saved (%.1f %%)\n", t.wire, t.full, saved, 100*float64(saved)/float64(t.full))
	}
	if t.undecoded > 0 {
		fmt.Fprintf(stderr, "%d deltas could not be decoded\n", t.undecoded)
	}
}
