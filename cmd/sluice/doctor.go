package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
)

// Exit statuses of `sluice doctor`, which differ from those of other commands.
const (
	exitWarnings = 1
	exitErrors   = 2
)

type doctorOptions struct {
	connections int
	url, listen string
	idle        time.Duration
	timeout     time.Duration
	strict      bool
	brief       bool
	asJSON      bool
	caFile      string
	tls         *tls.Config // nil for the system's certificates
}

func newDoctorCommand() *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with a configuration, its log and this machine",
		Long: `Look at a configuration, at the log that it names (reachable, permitted, with room and
right settings), at the clocks, at this machine, at secrets and origins, and at the way
from outside. Each finding says what it is and what to do. Nothing is changed, and the
server need not run.

The exit status is 0, also with warnings; with --strict it is 1 for these; it is 2 if
there are errors. --listen takes the place of a server and shows what a proxy sends;
with --url it sends requests there by itself, and ends when they have arrived.`,
		Example: `  sluice doctor --config sluice.yaml --connections 50000
  sluice doctor --config sluice.yaml --url https://ws.example.com --idle 130s
  sluice doctor --config sluice.yaml --listen :6001 --url https://ws.example.com`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&o.connections, "connections", 10_000, "how many connections are expected at a time")
	f.StringVar(&o.url, "url", "", "public address of the server, to be looked at from outside")
	f.DurationVar(&o.idle, "idle", 0, "keep a connection to --url for so long, to see whether a proxy cuts it")
	f.StringVar(&o.listen, "listen", "", "in place of all else, listen here and show what arrives")
	f.StringVar(&o.caFile, "ca-file", "", caFileUsage)
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long a server may take to answer")
	f.BoolVar(&o.strict, "strict", false, "end with 1 if there are warnings")
	f.BoolVar(&o.brief, "brief", false, "leave out what is fine")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (o *doctorOptions) run(cmd *cobra.Command) error {
	switch {
	case o.connections < 1:
		return usage("--connections is %d, must be 1 or more", o.connections)
	case o.timeout <= 0 || o.idle < 0:
		return usage("--timeout must be more than 0, and --idle not negative")
	case o.idle > 0 && (o.url == "" || o.listen != ""):
		return usage("--idle is for --url without --listen")
	}
	if o.url != "" {
		u, err := serverAddress(o.url)
		if err != nil {
			return err
		}
		if err := noUser(u); err != nil {
			return err
		}
		o.url = u.String()
	}
	if o.caFile != "" {
		var err error
		if o.tls, err = trusting(o.caFile); err != nil {
			return err
		}
	}
	c := o.configuration(cmd)
	var report *doctor.Report
	var err error
	if o.listen != "" {
		report, err = o.watch(cmd, c)
	} else {
		report = o.examine(cmd.Context(), c)
	}
	if err != nil {
		return err
	}
	if err := o.print(cmd.OutOrStdout(), report); err != nil {
		return err
	}
	switch {
	case report.Errors > 0:
		return statusError{errors.New(counted(report.Errors, "error")), exitErrors}
	case report.Warnings > 0 && o.strict:
		return statusError{errors.New(counted(report.Warnings, "warning")), exitWarnings}
	}
	return nil
}

func (o *doctorOptions) print(w io.Writer, r *doctor.Report) error {
	if !o.asJSON {
		return r.Print(w, o.brief)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// errNoConfig is the error of checks that need a configuration.
var errNoConfig = errors.New("there is no configuration")
