package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/certs"
)

func newConfigCommand() *cobra.Command {
	var format string
	var check bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in force, secrets redacted",
		Args:  arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := errors.Join(c.CheckBackend(), c.CheckSecrets()); err != nil {
				return err
			}
			for _, name := range c.SampleSecrets() {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is a secret that is published with the samples; choose another one\n", name)
			}
			if names := c.ServiceLinks(); len(names) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "variables that Kubernetes makes for a service are ignored: %s\n", strings.Join(names, " "))
			}
			for _, name := range c.NotYet() {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s asks for a feature that this release does not have\n", name)
			}
			if check {
				if err := checkFiles(c, cmd.ErrOrStderr()); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
				return nil
			}
			measure(c)
			print := c.YAML
			switch format {
			case "yaml":
			case "json":
				print = c.JSON
			default:
				return usage("--format is %q, must be yaml or json", format)
			}
			text, err := print()
			if err != nil {
				return err
			}
			// The text can still be loaded, because a comment changes nothing.
			if level := c.Level(); level != c.Durability {
				text = bytes.Replace(text, []byte("\ndurability: auto\n"), []byte("\ndurability: auto # which is "+level+" here\n"), 1)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return nil
		},
	}
	configs.BindFlags(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml or json")
	cmd.Flags().BoolVar(&check, "check", false, "only check it, with the files that it names")
	return cmd
}

// checkFiles checks the files and directories that a server uses at its start, except the files of secrets,
// which are read with the configuration. Problems in spite of which a server starts are printed to warnings.
func checkFiles(c *configs.Config, warnings io.Writer) error {
	quiet := slog.New(slog.DiscardHandler)
	problems, err := checkTLS(c)
	for _, problem := range problems {
		fmt.Fprintln(warnings, problem)
	}
	errs := []error{err, checkDirectories(c)}
	switch {
	case c.Driver == "nats" && !c.Embeds():
		opt := streamOptions(c, quiet)
		errs = append(errs, opt.CheckFiles())
	case strings.HasPrefix(c.Driver, "redis"):
		opt := redisOptions(c, quiet)
		errs = append(errs, opt.CheckFiles())
	}
	return errors.Join(errs...)
}

// checkTLS returns an error if a server could not present a certificate, and the problems of the certificate
// that it would present.
func checkTLS(c *configs.Config) (problems []string, err error) {
	var opt gateway.Options
	switch {
	case c.TLS.CertFile != "":
		opt.Logger = slog.New(slog.DiscardHandler)
		if err = secure(&opt, c); err == nil {
			problems = opt.TLS.Problems()
		}
	case c.TLS.ACME.CAFile != "" && c.TLS.Enabled():
		_, err = certs.Roots("tls.acme.ca_file", c.TLS.ACME.CAFile)
	}
	return problems, err
}
