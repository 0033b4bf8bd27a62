package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot returns the root command with all others. Without a subcommand it serves.
func newRoot() *cobra.Command {
	serve := newServeCommand()
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A realtime server that keeps every event in a log",
		Long: `Sluice is a realtime server that speaks the Pusher protocol and keeps every event
in a log. Without a subcommand it serves: "sluice" takes the flags of "sluice serve",
which lists them.`,
		Version: versionText(),
		// No subcommand has such a function, which would replace this one.
		PersistentPreRunE: refuseBlankFlags,
		RunE:              serve.RunE,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
	}
	root.SetVersionTemplate("sluice {{.Version}}\n")
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpFunc(showHelp)
	root.SetHelpCommand(newHelpCommand())
	root.PersistentFlags().String("config", "", "configuration file; without one the server is in development mode")
	serve.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		// A copy, so that the flags are hidden only in the help of the root.
		hidden := *f
		hidden.Hidden = true
		root.Flags().AddFlag(&hidden)
	})
	commands := []*cobra.Command{
		serve, newPublishCommand(), newSubscribeCommand(), newHistoryCommand(), newReplayCommand(), newExportCommand(), newImportCommand(), newDemoCommand(),
		newSubjectCommand(), newTokenCommand(), newConfigCommand(), newHealthCommand(), newChannelsCommand(), newUsersCommand(), newTerminateCommand(), newPurgeCommand(), newResetCommand(), newAppCommand(), newAuthCommand(), newInitCommand(), newDoctorCommand(), newBenchCommand(), newTopCommand(), newVersionCommand(), newCompletionCommand(), newManCommand(),
	}
	root.AddCommand(commands...)
	for _, c := range append(commands, root) {
		completeWords(c)
	}
	return root
}
