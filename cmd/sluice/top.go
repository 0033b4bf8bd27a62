package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
)

type topOptions struct {
	health     healthOptions
	metricsURL string
	tokenFile  string
	prefix     string
	interval   time.Duration
	once       bool
	asJSON     bool

	token configs.Secret
	http  *http.Client
}

func newTopCommand() *cobra.Command {
	o := &topOptions{}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running server: connections, rates, what waits, memory",
		Long: `Watch one running server, by its metrics: connections and subscriptions, channels, what
is published and delivered a second, how long that takes and what waits, slow sockets,
memory, and the apps. Rates are those between two looks.

The metrics are where the configuration has them, on this machine; --metrics-url names
others. Into a file or a pipe one table is printed, as with --once.`,
		Example: `  sluice top --config sluice.yaml
  sluice top --once --json | jq .deliveries_per_second
  sluice top --metrics-url http://10.0.0.7:9601 --token-file token --url http://10.0.0.7:6001`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.metricsURL, "metrics-url", "", "address of the metrics; else that of the configuration, on this machine")
	f.StringVar(&o.tokenFile, "token-file", "", "file that holds metrics.token; else the configuration")
	f.StringVar(&o.prefix, "metrics-prefix", "", "metrics.prefix of the server; else that of the configuration")
	f.StringVar(&o.health.url, "url", "", "address of the server, asked whether it is ready; else $"+configs.ClientURL+", else the configuration")
	f.StringVar(&o.health.caFile, "ca-file", "", caFileUsage)
	f.DurationVar(&o.interval, "interval", 2*time.Second, "time between two looks")
	f.BoolVar(&o.once, "once", false, "print one table and end")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object per look")
	return cmd
}

func (o *topOptions) run(cmd *cobra.Command) error {
	if o.interval < 50*time.Millisecond {
		return usage("--interval is %v, must be at least 50ms", o.interval)
	}
	if err := o.complete(cmd); err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = o.health.tls
	defer transport.CloseIdleConnections()
	o.http = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	terminal, live := terminalOf(out)
	live = live && obeys()
	if live = live && !o.once && !o.asJSON; live {
		return o.watch(ctx, terminal)
	}
	before, err := o.look(ctx)
	if err != nil {
		return o.explain(err)
	}
	for {
		if rest(ctx, o.interval) != nil {
			return nil
		}
		now, err := o.look(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return o.explain(err)
		}
		v := viewOf(before, now, o.prefix)
		v.State = o.state(ctx)
		if o.asJSON {
			err = json.NewEncoder(out).Encode(v)
		} else {
			_, err = io.WriteString(out, v.table())
		}
		if err != nil || o.once || !o.asJSON {
			return err
		}
		before = now
	}
}

// complete fills in the values that are not on the command line.
func (o *topOptions) complete(cmd *cobra.Command) error {
	c, err := loadClientConfig(cmd)
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("metrics-prefix") {
		o.prefix = c.Metrics.Prefix
	}
	o.token = c.Metrics.Token
	if o.tokenFile != "" {
		if o.token, err = configs.ReadSecret(o.tokenFile); err != nil {
			return fmt.Errorf("the file with the token: %w", err)
		}
	}
	if o.metricsURL == "" {
		if c.Metrics.Port <= 0 {
			return usage("the configuration has no port for metrics; give their address with --metrics-url")
		}
		host := c.Metrics.Host
		if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		o.metricsURL = "http://" + net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(c.Metrics.Port))
	}
	o.metricsURL = strings.TrimSuffix(withScheme(o.metricsURL), "/")
	if u, err := url.Parse(o.metricsURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--metrics-url is %q, must be a host, or begin with http:// or https://", o.metricsURL)
	}
	if !strings.HasSuffix(o.metricsURL, "/metrics") {
		o.metricsURL += "/metrics"
	}
	// Without the address of the server, everything but its readiness can be shown.
	if err := o.health.address(cmd); err != nil {
		o.health.url = ""
	}
	return nil
}

// explain adds a hint to an error of reading the metrics.
func (o *topOptions) explain(err error) error {
	var status statusOf
	if errors.As(err, &status) && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return hinted{err, "Give the token of the metrics with --token-file, or --config."}
	}
	return hinted{err, "The metrics of a server are at metrics.host and metrics.port of its configuration (127.0.0.1:9601); --metrics-url names others."}
}

// statusOf is the error of an answer with a status other than 200.
type statusOf int

func (s statusOf) Error() string {
	return fmt.Sprintf("status %d: %s", int(s), http.StatusText(int(s)))
}

// maxMetrics bounds the size of the metrics in bytes.
const maxMetrics = 64 << 20

// look reads the metrics once.
func (o *topOptions) look(ctx context.Context) (look, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metricsURL, nil)
	if err != nil {
		return look{}, err
	}
	if o.token != "" {
		r.Header.Set("Authorization", "Bearer "+o.token.Reveal())
	}
	answer, err := o.http.Do(r)
	if err != nil {
		return look{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return look{}, fmt.Errorf("%s: %w", o.metricsURL, statusOf(answer.StatusCode))
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(answer.Body, maxMetrics))
	if err != nil {
		return look{}, fmt.Errorf("%s has no metrics that can be read: %w", o.metricsURL, err)
	}
	if families[o.prefix+"connected"] == nil && families[o.prefix+"log_ready"] == nil {
		return look{}, fmt.Errorf("%s has no metrics of a gateway with the prefix %q", o.metricsURL, o.prefix)
	}
	return look{at: time.Now(), families: families}, nil
}

// state returns the readiness of the server in a few words, empty if its address is unknown.
func (o *topOptions) state(ctx context.Context) string {
	if o.health.url == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	said, err := o.health.ask(ctx, "/ready")
	var not notReady
	switch {
	case errors.As(err, &not):
		return "not ready: " + strings.Join(not.problems, "; ")
	case err != nil:
		return "unknown: " + err.Error()
	}
	said, _, _ = strings.Cut(said, ":")
	return said
}

// Control sequences of terminals: move to the upper left corner, clear the rest of a line, clear everything
// below.
const (
	topHome  = "\x1b[H"
	topClear = "\x1b[K"
	topBelow = "\x1b[J"
)

// fitted cuts a text to the size of a terminal, because lines that wrap or scroll cannot be overwritten.
func fitted(text string, columns, rows int) string {
	lines := strings.Split(text, "\n")
	if rows > 0 {
		lines = lines[:min(len(lines), max(rows-1, 1))]
	}
	var out strings.Builder
	for _, line := range lines {
		out.WriteString(cut(line, columns) + topClear + "\n")
	}
	return out.String() + cut("Ctrl-C to end", columns) + topClear + topBelow
}

// watch updates the view until ctx is done.
func (o *topOptions) watch(ctx context.Context, terminal screen) error {
	before, err := o.look(ctx)
	if err != nil {
		return o.explain(err)
	}
	fmt.Fprint(terminal.Writer, "\x1b[2J")
	draw := func(text string) error {
		columns, rows := extentOf(terminal.Writer)
		_, err := io.WriteString(terminal.Writer, topHome+fitted(string(visible([]byte(text))), columns, rows))
		return err
	}
	v := viewOf(before, before, o.prefix)
	for {
		v.State = o.state(ctx)
		if err := draw(v.table()); err != nil {
			return err
		}
		if rest(ctx, o.interval) != nil {
			fmt.Fprintln(terminal.Writer)
			return nil
		}
		now, err := o.look(ctx)
		if err != nil {
			if ctx.Err() == nil && draw("no answer: "+shorten(err.Error(), 300)+"\n") != nil {
				return err
			}
			continue
		}
		v, before = viewOf(before, now, o.prefix), now
	}
}
