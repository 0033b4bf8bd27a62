package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
)

// maxData bounds the data of one event that is read from a file or standard input, in bytes. The default limit
// of the server is far lower.
const maxData = 8 << 20

// event is an event on a command line.
type event struct {
	name       string
	channels   []string
	data       string
	tags       map[string]string
	delta      *bool
	id         string
	dedup      string
	exclude    string
	conflation *string // the conflation value
}

// publisher publishes events to the log.
type publisher interface {
	// publish stores an event and reports where.
	publish(ctx context.Context, e event) (report, error)
	close()
}

// report describes a published event.
type report struct {
	Event    string        `json:"event"`
	Bytes    int           `json:"bytes"`
	Channels []storedEvent `json:"channels"`
	// said is a short text of the same.
	said string
}

// storedEvent is the position of an event in the log of one channel. Unknown fields are omitted.
type storedEvent struct {
	Channel  string `json:"channel"`
	Serial   uint64 `json:"serial,omitempty"`
	StreamID string `json:"stream_id,omitempty"`
	// Subject and Stream are those of NATS.
	Subject   string `json:"subject,omitempty"`
	Stream    string `json:"stream,omitempty"`
	Duplicate bool   `json:"duplicate"`
}

type publishOptions struct {
	target
	event
	also                []string
	file                string
	lines, quiet        bool
	asJSON              bool
	deltaText, keyOpt   string
	nats, creds, prefix string
}

func newPublishCommand() *cobra.Command {
	o := &publishOptions{}
	cmd := &cobra.Command{
		Use:   "publish CHANNEL [DATA]",
		Short: "Publish an event",
		Long: `Publish an event to a channel, over the signed HTTP API or, with --nats, straight
to the app's subject. The data is the second argument, or the content of --file,
or else standard input. It is sent as it is and must be UTF-8; JSON is usual but not
required.

Server, app, key and secret come from the flags, else from the environment, else from
the configuration (--config, SLUICE_...), else they are those of the development server.

The command returns when the log has stored the event, and says so if an event with the
same --idempotency-key was stored before. With --lines over HTTP it waits and goes on when
the server is over its limits or cannot answer for a moment, 30 seconds at most for a line. With --json it prints where the event is in the
log of each channel.`,
		Example: `  sluice publish lobby '{"hello":"world"}' --event greeting
  uptime | sluice publish lobby --event load
  jq -c '.[]' items.json | sluice publish items --lines
  sluice publish lobby '{"hello":"world"}' --nats nats://127.0.0.1:4222`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.name, "event", "e", "message", "event name")
	f.StringArrayVar(&o.also, "to", nil, "publish to this channel as well (repeatable)")
	f.StringVarP(&o.file, "file", "f", "", "read the data from a file; - is standard input")
	f.BoolVar(&o.lines, "lines", false, "each line of the file or of standard input is the data of an event")
	f.StringToStringVar(&o.tags, "tag", nil, "tag for filters, as name=value (repeatable)")
	f.StringVar(&o.deltaText, "delta", "", "false: never as a delta; true: also when it is small")
	f.StringVar(&o.id, "message-id", "", "message id")
	f.StringVar(&o.dedup, "idempotency-key", "", "repeated within two minutes, nothing is stored")
	f.StringVar(&o.exclude, "exclude-socket", "", "id of a connection that must not receive the event")
	f.StringVar(&o.nats, "nats", "", "publish to the subject on this NATS server instead of over HTTP (user:password@ or token@ before the host, or --nats-creds); config: the servers and credentials of the configuration")
	f.StringVar(&o.creds, "nats-creds", "", "credentials file for --nats")
	f.StringVar(&o.prefix, "nats-prefix", "", "prefix of the server's subjects; else that of the configuration")
	f.StringVar(&o.keyOpt, "conflation-key", "", "conflation value, instead of the one at the configured path")
	f.BoolVar(&o.asJSON, "json", false, "print what was stored, and where, as one JSON object per event")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing on success")
	return cmd
}

func (o *publishOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.checkFlags(cmd, args); err != nil {
		return err
	}
	data, done, err := o.input(cmd, args)
	if err != nil {
		return err
	}
	defer done()
	p, err := o.publisher(cmd)
	if err != nil {
		return err
	}
	defer p.close()
	published := 0
	for line := 1; data.Scan(); line++ {
		if cmd.Context().Err() != nil {
			break // it may be incomplete
		}
		e := o.event
		e.data = data.Text()
		if o.lines && e.data == "" {
			continue
		}
		if err := e.check(); err != nil {
			return o.at(line, err)
		}
		done, err := p.publish(cmd.Context(), e)
		if err != nil && o.lines && cmd.Context().Err() != nil {
			break
		}
		if err != nil {
			return o.at(line, o.explain(err))
		}
		published++
		if err := o.tell(cmd.OutOrStdout(), done); err != nil {
			return err
		}
	}
	if cmd.Context().Err() != nil {
		return fmt.Errorf("stopped; %s published", counted(published, "event"))
	}
	if errors.Is(data.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("the data is larger than %d bytes", maxData)
	}
	return data.Err()
}

// tell prints the report about an event.
func (o *publishOptions) tell(out io.Writer, done report) (err error) {
	switch {
	case o.asJSON:
		err = writeJSON(out, done)
	case !o.quiet:
		_, err = fmt.Fprintln(out, done.said)
	}
	return err
}

// at adds the number of the line to an error, with --lines.
func (o *publishOptions) at(line int, err error) error {
	if o.lines {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

// check refuses invalid UTF-8, which would be changed on its way.
func (e *event) check() error {
	parts := []struct{ what, text string }{
		{"the data", e.data}, {"the event name", e.name}, {"--message-id", e.id}, {"--idempotency-key", e.dedup}, {"--exclude-socket", e.exclude},
	}
	for _, c := range e.channels {
		parts = append(parts, struct{ what, text string }{"the channel name", c})
	}
	for k, v := range e.tags {
		parts = append(parts, struct{ what, text string }{"--tag", k + v})
	}
	if e.conflation != nil {
		parts = append(parts, struct{ what, text string }{"--conflation-key", *e.conflation})
	}
	for _, p := range parts {
		if !utf8.ValidString(p.text) {
			return hinted{fmt.Errorf("%s is not UTF-8; nothing is stored", p.what), "Events carry text. Encode other bytes, for example with base64."}
		}
	}
	return nil
}

// checkFlags checks combinations of flags.
func (o *publishOptions) checkFlags(cmd *cobra.Command, args []string) error {
	o.channels = append([]string{args[0]}, o.also...)
	if o.deltaText != "" {
		on, err := strconv.ParseBool(o.deltaText)
		if err != nil {
			return usage("--delta is %q, must be true or false", o.deltaText)
		}
		o.delta = &on
	}
	switch {
	case len(args) == 2 && o.file != "":
		return usage("the data is given both as an argument and with --file")
	case len(args) == 2 && o.lines:
		return usage("--lines reads a file or standard input, not an argument")
	case o.asJSON && o.quiet:
		return usage("--json and --quiet exclude each other")
	case o.nats == "" && (o.creds != "" || o.prefix != ""):
		return usage("--nats-creds and --nats-prefix need --nats")
	case configs.CheckNATSPrefix(o.prefix) != nil:
		return usage("--nats-prefix %w", configs.CheckNATSPrefix(o.prefix))
	case o.nats != "" && o.id != "":
		return usage("--message-id is not offered with --nats; use --idempotency-key")
	case o.lines && (o.id != "" || o.dedup != ""):
		return usage("--lines publishes many events, which cannot share an id")
	}
	if cmd.Flags().Changed("conflation-key") {
		o.conflation = &o.keyOpt
	}
	return nil
}

// input returns a scanner for the data of each event. done releases its source.
func (o *publishOptions) input(cmd *cobra.Command, args []string) (data *bufio.Scanner, done func(), err error) {
	var r io.Reader
	done = func() {}
	switch {
	case len(args) == 2:
		r = strings.NewReader(args[1])
	case o.file != "" && o.file != "-":
		f, err := os.Open(o.file)
		if err != nil {
			return nil, nil, err
		}
		r, done = f, func() { _ = f.Close() }
	default:
		what := "what is typed is the data of the event"
		if o.lines {
			what = "each line is published as an event"
		}
		sayTyping(cmd, what)
		in := typed(cmd)
		r, done = in, in.close
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxData)
	if !o.lines {
		s.Split(whole)
	}
	return s, done, nil
}

// whole is a split function that returns the entire input, even if it is empty, without a final line break.
func whole(data []byte, atEOF bool) (int, []byte, error) {
	if !atEOF {
		return 0, nil, nil
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	return len(data), []byte(text), bufio.ErrFinalToken
}

func (o *publishOptions) publisher(cmd *cobra.Command) (publisher, error) {
	if o.nats != "" {
		if err := o.target.complete(cmd, true); err != nil {
			return nil, err
		}
		return newRawPublisher(o)
	}
	s, err := o.signed(cmd)
	if err != nil {
		return nil, err
	}
	return &signedPublisher{api: s, patient: o.lines, stderr: cmd.ErrOrStderr()}, nil
}
