package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/client"
)

type healthOptions struct {
	url     string
	live    bool
	quiet   bool
	timeout time.Duration
	caFile  string
	// tls is the configuration for TLS, nil for the system's certificates, and dial opens the connection, nil
	// for the usual way.
	tls  *tls.Config
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func newHealthCommand() *cobra.Command {
	o := &healthOptions{}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server whether it is ready (for containers)",
		Long: `Ask a server whether it is ready, and say why it is not. The exit status is 0 if it is
and 1 if it is not, or if nobody answers. It needs no app and no secret.

Without --url the server is the one of the configuration, on this machine. --live asks
only whether the process answers, as a liveness probe does.`,
		Example: `  sluice health --config /etc/sluice.yaml
  sluice health --url 127.0.0.1:6001 --timeout 2s`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "address of the server, http unless it says otherwise; else $"+configs.ClientURL+", else the configuration")
	f.BoolVar(&o.live, "live", false, "ask only whether the process answers")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing if it is ready")
	f.StringVar(&o.caFile, "ca-file", "", caFileUsage)
	f.DurationVar(&o.timeout, "timeout", 3*time.Second, "how long it may take to answer")
	return cmd
}

func (o *healthOptions) run(cmd *cobra.Command) error {
	if o.timeout <= 0 {
		return usage("--timeout is %v, must be more than 0", o.timeout)
	}
	if err := o.address(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	path := "/ready"
	if o.live {
		path = "/health"
	}
	told, err := o.ask(ctx, path)
	if err != nil {
		// The hints are those of all commands that contact a server.
		return (&target{url: o.url}).explain(err)
	}
	if !o.quiet {
		fmt.Fprintln(cmd.OutOrStdout(), told)
	}
	return nil
}

// address finds the address of the server.
func (o *healthOptions) address(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("url") {
		o.url = strings.TrimSpace(os.Getenv(configs.ClientURL))
	}
	if o.url == "" {
		c, err := loadClientConfig(cmd)
		if err != nil {
			return err
		}
		if o.url, err = addressOf(c); err != nil {
			return err
		}
		if o.live && c.Metrics.Port > 0 {
			// This listener answers even if the public one is full.
			o.url = "http://" + net.JoinHostPort(ownHost(c.Metrics.Host), strconv.Itoa(c.Metrics.Port))
		} else {
			o.dial = ownDial(c)
		}
		if o.tls = ownTLS(c); len(c.TLS.ACME.Domains) > 0 {
			// The server may have no certificate yet, or one from an authority that only clients know. The
			// request stays on this machine and contains no secret.
			o.tls.InsecureSkipVerify = true
		}
	}
	if o.caFile != "" {
		var err error
		if o.tls, err = trusting(o.caFile); err != nil {
			return err
		}
	}
	u, err := serverAddress(o.url)
	if err != nil {
		return err
	}
	o.url = u.String()
	return nil
}

// ask returns the state of a healthy server in a few words, and an error for any other.
func (o *healthOptions) ask(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url+path, nil)
	if err != nil {
		return "", err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.tls != nil {
		transport.TLSClientConfig = o.tls
	}
	if o.dial != nil {
		transport.DialContext = o.dial
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%s%s has not answered within %v", shownAddress(o.url), path, o.timeout)
	}
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var told struct {
		Status     string
		Ready      *bool
		Draining   bool
		Backend    string
		Durability string
		Level      string `json:"durability_level"`
		Problems   []string
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return "", err
	}
	bad := json.Unmarshal(text, &told)
	switch {
	case answer.StatusCode == http.StatusOK && bad == nil && told.Status == "ok":
		return "alive", nil
	case bad != nil || told.Ready == nil:
		return "", &client.APIError{Status: answer.StatusCode, Message: http.StatusText(answer.StatusCode) + ", which is no answer of " + path}
	case *told.Ready && answer.StatusCode == http.StatusOK:
		said := "ready, with " + told.Backend
		switch {
		case told.Level != "":
			said += "; durability " + told.Level + ": " + told.Durability
		case told.Durability != "":
			said += "; durability: " + told.Durability
		}
		return said, nil
	case told.Draining:
		told.Problems = append(told.Problems, "it was asked to stop")
	}
	if len(told.Problems) == 0 {
		told.Problems = []string{"it does not say why"}
	}
	return "", notReady{told.Problems}
}

// notReady is the error of a server that is not ready, with its reasons.
type notReady struct{ problems []string }

func (e notReady) Error() string { return "not ready: " + strings.Join(e.problems, "\n  ") }
