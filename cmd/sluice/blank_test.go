package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
)

// commandsOf are a command and all those below it.
func commandsOf(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		out = append(out, commandsOf(c)...)
	}
	return out
}

// TestBlankFlagsAreRefused: a flag whose variable is not set must not do what the command does without it. The flags of
// settings stay as they are, which the reference of the configuration says.
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
		cmd.InheritedFlags() // which has the flags of its parents among its own
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
			f.Changed = false // so that the next command that shares the flag takes notice of it
			// It is looked at with each of the others as well.
			if err := f.Value.Set("x" + before); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHelpThatCannotBeWrittenFails, once, whichever way it is asked for.
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
