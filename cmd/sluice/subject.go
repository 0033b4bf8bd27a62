package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/streams"
)

func newSubjectCommand() *cobra.Command {
	prefix := ""
	cmd := &cobra.Command{
		Use:   "subject APP CHANNEL",
		Short: "Print the NATS subject of a channel",
		Long: `Print the NATS subject of a channel, for publishing with any NATS client. Letters,
digits and _ - : @ , ; # stand for themselves, every other byte is written =HH.`,
		Example: `  sluice subject app-id lobby
  nats pub "$(sluice subject app-id news.sports)" '{"goal":1}' -H Event:goal`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, what := range []string{"APP", "CHANNEL"} {
				if args[i] == "" {
					return usage("%s is empty", what)
				}
			}
			if !cmd.Flags().Changed("nats-prefix") {
				c, err := loadClientConfig(cmd)
				if err != nil {
					return err
				}
				prefix = c.NATS.Prefix
			} else if err := configs.CheckNATSPrefix(prefix); err != nil {
				return usage("--nats-prefix %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), prefix+streams.SubjectOf(args[0], args[1]))
			if err := pusher.CheckChannel(args[1], longestChannel); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "gateways deliver nothing that is published there: %v\n", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&prefix, "nats-prefix", "", "prefix of the server's subjects; else that of the configuration")
	return cmd
}
