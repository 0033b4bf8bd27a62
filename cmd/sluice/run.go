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

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// statusError ends the program with a status of its own.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// arguments makes the complaints of a check of arguments usage errors, which name the argument.
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
				break // what stands behind it is for the shell
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

// program is this program as it was typed, if that was a path from here, so that what is shown can be
// typed again.
func program() string {
	if name := os.Args[0]; strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") {
		return quotedForShell(name)
	}
	return "sluice"
}

// run executes a command line and returns the exit status. It prints the error,
// if there is one, to stderr.
func run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	stderr = shown(stderr)
	out := &printed{Writer: shown(stdout)}
	root.SetOut(out)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			// The flags behind a word that is no command are those of another one.
			return unknownCommand(root, args[0])
		}
		return unknownFlag(cmd, err)
	})
	cmd, err := root.ExecuteContextC(ctx)
	helped, _ := cmd.Flags().GetBool("help")
	if serves := cmd == root || cmd.Name() == "serve"; err == nil && (helped || !serves) {
		// A server goes on, whoever reads what it prints.
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
