package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// goOn returns the command line that continues where this one stopped: the same with other values for some
// flags; an empty value omits the flag. A secret is not repeated.
func goOn(cmd *cobra.Command, args []string, instead map[string]string) string {
	words := append(strings.Fields(cmd.CommandPath()), args...)
	for i := range words {
		words[i] = quoted(words[i])
	}
	words[0] = program()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, other := instead[f.Name]
		switch {
		case !other && !f.Changed, other && value == "":
			return
		case !other && f.Name == "secret":
			value = "SECRET"
		case !other:
			value = f.Value.String()
		}
		if f.Value.Type() == "bool" {
			words = append(words, "--"+f.Name+"="+value)
			return
		}
		words = append(words, "--"+f.Name, quoted(value))
	})
	return strings.Join(words, " ")
}

// quoted quotes a word for a shell if that is necessary.
func quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=@,.:/+"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
