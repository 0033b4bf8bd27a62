package main

import "github.com/spf13/cobra"

// newRoot puts the commands together. Without a subcommand it serves.
func newRoot() *cobra.Command {
	serve := newServeCommand()
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A realtime server that keeps every event in a log",
		Long: `Sluice is a realtime server that speaks the Pusher protocol and keeps every event
in a log. Without a subcommand it serves, like "sluice serve".`,
		Args:          arguments(cobra.NoArgs),
		RunE:          serve.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Completion scripts are generated on demand; the command is not worth
		// a line in the short list.
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.PersistentFlags().String("config", "", "configuration file; without one the server is in development mode")
	root.Flags().AddFlagSet(serve.LocalNonPersistentFlags())
	root.AddCommand(
		serve, newPublishCommand(), newSubscribeCommand(), newHistoryCommand(), newDemoCommand(),
		newSubjectCommand(), newConfigCommand(), newVersionCommand(),
	)
	return root
}
