package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// sayTyping tells the user at a terminal that the command waits for input, because it would seem to hang.
func sayTyping(cmd *cobra.Command, what string) {
	if isTerminal(cmd.InOrStdin()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "reading standard input: %s; Ctrl-D on a line of its own ends it\n", what)
	}
}
