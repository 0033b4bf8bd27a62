package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCommand returns the command that writes manual pages, for packagers. It is hidden in the help.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Hidden: true,
		Long: `Write a manual page for each command into a directory, which is made if it is not there.
The date of the pages is that of SOURCE_DATE_EPOCH, or today.`,
		Example: "  sluice man /usr/local/share/man/man1",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("the directory of the pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			head := &doc.GenManHeader{Title: "SLUICE", Section: "1", Source: "Sluice " + versionText(), Manual: "Sluice"}
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("writing the pages: %w", err)
			}
			return nil
		},
	}
}
