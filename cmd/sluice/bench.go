package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/cmd/sluice/load"
	"github.com/sluicehq/sluice/gateway/app"
)

type benchOptions struct {
	target
	load        load.Options
	result      string
	compare     string
	serverName  string
	noCalibrate bool
}

// benches are the subcommands with their descriptions and their own flags.
var benches = []struct {
	kind        load.Kind
	short, long string
	flags       []string
}{
	{load.Subscribe, "Publish to subscribers, and measure until they have it", `Publish to subscribers at a fixed rate, and measure from the moment at which each message
was due until each subscriber has it.`, []string{"connections", "channels", "rate", "size", "duration", "warmup", "grace", "in-flight", "connect-rate"}},
	{load.Publish, "Publish, and measure until it is answered", `Publish over the HTTP API at a fixed rate, and measure from the moment at which each
message was due until the server has answered.`, []string{"channels", "rate", "size", "duration", "warmup", "in-flight"}},
	{load.Churn, "Connect, subscribe, unsubscribe and leave", `Let connections come at a fixed rate; each subscribes, unsubscribes and leaves. Each step
is measured, the first one from the moment at which the connection was due.`, []string{"channels", "rate", "duration", "in-flight"}},
	{load.Reconnect, "Cut all connections, and measure until they are back", `Cut all connections at once, and measure from then until each of them is subscribed
again. One that is refused tries again after a pause, as clients do.`, []string{"connections", "channels", "connect-rate", "rounds", "spread"}},
	{load.Slow, "Measure normal subscribers beside slow ones", `Publish to subscribers for half of the time without, and for the other half beside
subscribers that read slowly. The table has the latencies of the normal ones in both.`, []string{"connections", "channels", "rate", "size", "duration", "warmup", "grace", "in-flight", "connect-rate", "slow", "slow-rate"}},
	{load.Self, "Measure the generator itself", `Do what "bench subscribe" does, against a trivial server in this process: what the
generator and this machine can do at best. It needs no server.`, []string{"connections", "channels", "rate", "size", "duration", "warmup", "grace", "in-flight", "connect-rate"}},
}

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a server, this one or any other of the Pusher protocol",
		Long: `Put load on a server of the Pusher protocol and measure it. The load is open: when
something is due does not depend on how fast the server is, and latencies count from
then, so that a server that stalls cannot hide it. The generator measures itself first,
and says so if it was too slow for the numbers to be the server's.

Do not run it against a server that others need.`,
		Example: `  sluice bench subscribe --connections 1000 --rate 200 --json before.json
  sluice bench subscribe --connections 1000 --rate 200 --compare before.json
  sluice bench reconnect --connections 5000 --url https://ws.example.com`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usage("say what to measure: subscribe, publish, churn, reconnect, slow or self")
		},
	}
	for _, b := range benches {
		o := &benchOptions{}
		sub := &cobra.Command{
			Use: string(b.kind), Short: b.short, Long: b.long, Args: arguments(cobra.NoArgs), ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, b.kind) },
		}
		if b.kind != load.Self {
			o.target.flags(sub)
			sub.Flags().StringVar(&o.serverName, "server-name", "", "what the server is called in the result; else what it says of itself")
			sub.Flags().BoolVar(&o.noCalibrate, "no-calibrate", false, "do not measure the generator first")
		}
		o.flags(sub, b.flags)
		cmd.AddCommand(sub)
	}
	return cmd
}

// flags adds the flags of a kind of run, and sets the others to their defaults.
func (o *benchOptions) flags(cmd *cobra.Command, names []string) {
	all, l := pflag.NewFlagSet("", pflag.ContinueOnError), &o.load
	f := all
	number := func(to *int, name string, value int, help string) { f.IntVar(to, name, value, help) }
	number(&l.Connections, "connections", 100, "subscribers, divided evenly among the channels")
	number(&l.Channels, "channels", 1, "channels, used one after the other")
	number(&l.Size, "size", 200, "bytes of data in a message")
	number(&l.InFlight, "in-flight", 256, "how much may be under way; what is due beyond waits, which counts")
	number(&l.SlowConnections, "slow", 10, "subscribers that read slowly")
	number(&l.SlowRate, "slow-rate", 1024, "bytes a second that each of them reads")
	number(&l.Rounds, "rounds", 3, "how often the connections are cut")
	f.Float64Var(&l.Rate, "rate", 100, "how many messages, or connections, are due a second")
	f.Float64Var(&l.ConnectRate, "connect-rate", 500, "connections that are opened a second before it begins")
	f.DurationVar(&l.Duration, "duration", 10*time.Second, "how long is measured")
	f.DurationVar(&l.Warmup, "warmup", time.Second, "how long the same goes on before that")
	f.DurationVar(&l.Grace, "grace", 5*time.Second, "how long messages may be on their way at the end")
	f.DurationVar(&l.Spread, "spread", 0, "time over which the connections come back, 0 for all at once")
	for _, name := range names {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	f = cmd.Flags()
	f.DurationVar(&l.Timeout, "timeout", 10*time.Second, "how long a request, a handshake or a return may take")
	f.StringVar(&l.Prefix, "prefix", "bench-", "beginning of the names of channels; may begin with private- or presence-")
	f.StringVar(&o.result, "json", "", "write the result to this file as JSON; - is standard output, and the table goes to standard error")
	f.StringVar(&o.compare, "compare", "", "print the table beside the result in this file")
}

func (o *benchOptions) run(cmd *cobra.Command, kind load.Kind) error {
	o.load.Kind, o.load.Calibrate = kind, !o.noCalibrate
	var before *load.Result
	var err error
	if o.compare != "" {
		if before, err = load.ReadResult(o.compare); err != nil {
			return err
		}
	}
	if err := o.load.Validate(); err != nil {
		return usageError{err}
	}
	if err := o.writable(); err != nil {
		return err
	}
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	progress := newBar(stderr)
	o.load.Progress = func(part float64, text string) { progress.update(time.Now(), part, text) }
	out, err := o.measure(ctx, cmd)
	progress.clear()
	if out == nil {
		return o.explain(err)
	}
	out.Environment.Generator, out.Environment.Command = versionText(), goOn(cmd, nil, nil)
	table := cmd.OutOrStdout()
	if o.result == "-" {
		table = stderr
	}
	if printing := out.Print(table, before); printing != nil {
		return printing
	}
	if writing := o.write(cmd.OutOrStdout(), out); writing != nil {
		return writing
	}
	return o.explain(err)
}

// measure runs the measurement. The result is nil if it could not begin.
func (o *benchOptions) measure(ctx context.Context, cmd *cobra.Command) (*load.Result, error) {
	if o.load.Kind == load.Self {
		return load.DoSelf(ctx, o.load)
	}
	if err := o.complete(cmd, false); err != nil {
		return nil, err
	}
	u, err := serverAddress(o.url)
	if err != nil {
		return nil, err
	}
	if err := noUser(u); err != nil {
		return nil, err
	}
	o.load.Target = load.Target{URL: o.url, AppID: o.app, Key: o.key, Secret: app.Secret(o.secret), TLS: o.tls}
	r, err := load.New(o.load)
	if err != nil {
		return nil, usageError{err}
	}
	name := o.serverName
	if name == "" {
		name = o.describe(ctx)
	}
	out, err := r.Do(ctx)
	out.Environment.Server = name
	return out, err
}

// writable checks before the measurement whether the result can be written. An existing file is left unchanged.
func (o *benchOptions) writable() error {
	if o.result == "" || o.result == "-" {
		return nil
	}
	_, missing := os.Stat(o.result)
	f, err := os.OpenFile(o.result, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	_ = f.Close()
	if missing != nil {
		_ = os.Remove(o.result)
	}
	return nil
}

func (o *benchOptions) write(stdout io.Writer, r *load.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil || o.result == "" {
		return err
	}
	text = append(text, '\n')
	if o.result == "-" {
		_, err = stdout.Write(text)
		return err
	}
	return os.WriteFile(o.result, text, 0o644)
}

// describePatience bounds the request for a description of the server.
const describePatience = 3 * time.Second

// describe returns how a server describes itself.
func (o *benchOptions) describe(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, describePatience)
	defer cancel()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.tls
	defer transport.CloseIdleConnections()
	get := func(path string) *http.Response {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, httpScheme(o.url)+path, nil)
		if err != nil {
			return nil
		}
		answer, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			return nil
		}
		return answer
	}
	const unknown = "a server that does not say what it is"
	answer := get("/ready")
	if answer == nil {
		return unknown
	}
	defer answer.Body.Close()
	var told struct {
		Backend, Durability string
		Level               string `json:"durability_level"`
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && json.Unmarshal(text, &told) == nil && told.Backend != "" && told.Durability != "" {
		if told.Level == "" {
			told.Level = told.Durability // an older release describes it only in a sentence
		}
		return fmt.Sprintf("sluice with %s, durability %s", told.Backend, told.Level)
	}
	if s := answer.Header.Get("Server"); s != "" {
		return shorten(s, 100)
	}
	return unknown
}
