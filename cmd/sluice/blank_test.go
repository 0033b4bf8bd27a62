package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
)

// commandsOf returns a command and all its subcommands.
func commandsOf(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		out = append(out, commandsOf(c)...)
	}
	return out
}

// TestBlankFlagsAreRefused: a flag whose shell variable is not set must not behave as if it were absent.
// Flags of settings are exempt, as the configuration reference says.
func TestBlankFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--config", ""}, {"serve", "--config="}, {"config", "--check", "--config", " "}, {"purge", "lobby", "--yes", "--before", ""},
		{"health", "--url", ""}, {"publish", "lobby", "x", "--to", ""}, {"app", "set", "a", "--set", ""},
	} {
		status, out, text := execute(t, "", args...)
		name, _, _ := strings.Cut(strings.TrimSpace(strings.Join(args, " ")), "=")
		name = name[strings.LastIndex(name, "--"):]
		if status != exitUsage || !strings.Contains(text, strings.TrimSpace(name)+" is empty") || out != "" {
			t.Errorf("%q: status %d, %q", args, status, text)
		}
	}
	for _, cmd := range commandsOf(newRoot()) {
		cmd.InheritedFlags() // its flags include those of its parents
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			_, setting := f.Annotations[configs.FlagSection]
			if f.Value.Type() != "string" && !setting {
				return
			}
			before := f.Value.String()
			if err := cmd.Flags().Set(f.Name, ""); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Root().PersistentPreRunE(cmd, nil); (err == nil) != (setting || mayBeBlank[f.Name]) {
				t.Errorf("%s --%s '': %v", cmd.CommandPath(), f.Name, err)
			}
			f.Changed = false // so that the next command with this flag examines it
			// It is also examined together with each of the others.
			if err := f.Value.Set("x" + before); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHelpThatCannotBeWrittenFails: if help cannot be written, the command fails with one message, however
// help is requested.
func TestHelpThatCannotBeWrittenFails(t *testing.T) {
	lines := [][]string{{"--help"}, {"-h"}, {"help"}, {"--version"}, {"help", "serve"}}
	for _, cmd := range commandsOf(newRoot())[1:] {
		lines = append(lines, append(strings.Fields(cmd.CommandPath())[1:], "--help"))
	}
	for _, args := range lines {
		var text bytes.Buffer
		status := run(t.Context(), newRoot(), args, strings.NewReader(""), full{}, &text)
		if status != exitFailure || text.String() != "sluice: no space left on device\n" {
			t.Errorf("%q: status %d, %q", args, status, text.String())
		}
	}
}
