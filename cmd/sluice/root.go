package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot puts the commands together. Without a subcommand it serves.
func newRoot() *cobra.Command {
	serve := newServeCommand()
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A realtime server that keeps every event in a log",
		Long: `Sluice is a realtime server that speaks the Pusher protocol and keeps every event
in a log. Without a subcommand it serves: "sluice" takes the flags of "sluice serve",
which lists them.`,
		Args:          arguments(cobra.NoArgs),
		RunE:          serve.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Completion scripts are generated on demand; the command is not worth
		// a line in the short list.
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.PersistentFlags().String("config", "", "configuration file; without one the server is in development mode")
	serve.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		// A copy, so that only the root's list of flags stays short.
		hidden := *f
		hidden.Hidden = true
		root.Flags().AddFlag(&hidden)
	})
	root.AddCommand(
		serve, newPublishCommand(), newSubscribeCommand(), newHistoryCommand(), newReplayCommand(), newExportCommand(), newImportCommand(), newDemoCommand(),
		newSubjectCommand(), newConfigCommand(), newVersionCommand(),
	)
	return root
}
