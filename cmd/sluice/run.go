package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses of commands.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is an error in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// statusError is an error with its own exit status.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// arguments turns errors about arguments into usage errors that name the argument.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		var names []string
		required := 0
		for _, name := range strings.Fields(cmd.Use)[1:] {
			if name == ">" {
				break // the shell handles what follows
			}
			if name == "[flags]" {
				continue
			}
			names = append(names, name)
			if name[0] != '[' {
				required++
			}
		}
		switch {
		case len(args) < required:
			return usage("%s is missing", strings.TrimSuffix(names[len(args)], "..."))
		case len(names) > 0 && len(args) > len(names):
			return usage("%q is one argument too many: it is %s", args[len(names)], strings.Replace(strings.TrimSuffix(cmd.UseLine(), " [flags]"), " [flags]", "", 1))
		case cmd.HasSubCommands():
			return unknownCommand(cmd, args[0])
		case len(args) > 0:
			err := usage("%q is one argument too many: %s takes none", args[0], cmd.CommandPath())
			if isConfigFile(args[0]) {
				return meant(err, []string{"config " + quotedForShell(args[0])}, "--")
			}
			return err
		}
		return usageError{err}
	}
}

// program returns this program as it was typed, if that was a relative path, so that printed commands can be
// copied.
func program() string {
	if name := os.Args[0]; strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") {
		return quotedForShell(name)
	}
	return "sluice"
}

// run executes a command line, prints its error to stderr if there is one, and returns the exit status.
func run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	stderr = shown(stderr)
	out := &printed{Writer: shown(stdout)}
	root.SetOut(out)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			// The flags after an unknown command belong to that command.
			return unknownCommand(root, args[0])
		}
		return unknownFlag(cmd, err)
	})
	cmd, err := root.ExecuteContextC(ctx)
	helped, _ := cmd.Flags().GetBool("help")
	if serves := cmd == root || cmd.Name() == "serve"; err == nil && (helped || !serves) {
		// A server continues, even if its output cannot be written.
		err = out.failure()
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "sluice: %v\n", err)
	var u usageError
	if errors.As(err, &u) {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return exitUsage
	}
	var s statusError
	if errors.As(err, &s) {
		return s.status
	}
	return exitFailure
}
