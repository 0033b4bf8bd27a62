package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// unknownCommand returns an error for an unknown command, with the command that was probably meant.
func unknownCommand(root *cobra.Command, word string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	err := usage("unknown command %q for %q", word, root.CommandPath())
	if isConfigFile(word) {
		return meant(err, []string{"config " + quotedForShell(word)}, "--")
	}
	return meant(err, similar(word, names), "")
}

// isConfigFile reports whether an argument looks like a configuration file, which some programs take without a
// flag.
func isConfigFile(word string) bool {
	switch strings.ToLower(filepath.Ext(word)) {
	case ".yaml", ".yml", ".json", ".jsonc", ".toml":
		return true
	}
	return false
}

// unknownFlag adds to an error about a flag what was probably meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		if must := mustBe(invalid); must != "" {
			return usage("--%s is %.40q, must be %s", invalid.GetFlag().Name, invalid.GetValue(), must)
		}
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return usageError{err}
	}
	if unknown.GetSpecifiedName() == "check" && cmd.Flags().Lookup("check") == nil {
		return meant(usageError{err}, []string{"sluice config --check"}, "")
	}
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return meant(usageError{err}, similar(unknown.GetSpecifiedName(), names), "--")
}

// mustBe describes the valid values of a flag, empty if the flag's own error does.
func mustBe(e *pflag.InvalidValueError) string {
	large := errors.Is(e, strconv.ErrRange)
	switch e.GetFlag().Value.Type() {
	case "int":
		if large {
			return "a whole number of at most 64 bits"
		}
		return "a whole number"
	case "uint64":
		if large {
			return "a whole number of at most 64 bits"
		}
		return "a whole number, not negative"
	case "float64":
		return "a number"
	case "duration":
		return "a time such as 500ms, 10s or 1h30m"
	case "bool":
		return "true or false"
	case "stringToString":
		return "NAME=VALUE"
	}
	return ""
}

// meant adds a suggestion to a usage error.
func meant(err error, names []string, dashes string) error {
	if len(names) == 0 {
		return err
	}
	return usageError{hinted{err, fmt.Sprintf("Did you mean %s%s?", dashes, strings.Join(names, " or "+dashes))}}
}

// similar returns the names that a word may stand for, the nearest ones and at most three: those of which it is
// a prefix, or that differ from it by few letters.
func similar(word string, names []string) []string {
	word = strings.ToLower(word)
	best := 1 + max(1, len(word)/3)
	var out []string
	for _, name := range names {
		far := pusher.Edits(word, name, best+1)
		if strings.HasPrefix(name, word) && len(word) > 1 {
			far = 1
		}
		switch {
		case slices.Contains(out, name):
		case far < best:
			best, out = far, []string{name}
		case far == best && len(out) > 0 && len(out) < 3:
			out = append(out, name)
		}
	}
	return out
}
