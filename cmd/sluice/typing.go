package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// sayTyping tells somebody at a terminal that a command waits for what is typed, which
// looks otherwise as if it hung.
func sayTyping(cmd *cobra.Command, what string) {
	if isTerminal(cmd.InOrStdin()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "reading standard input: %s; Ctrl-D on a line of its own ends it\n", what)
	}
}
