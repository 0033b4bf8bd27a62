package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
)

// narrow is the width of help that is not printed to a terminal, and broad the maximum width: longer lines are
// hard to read.
const (
	narrow = 80
	broad  = 120
)

// usageTemplate is the help of a command after its description.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{flagsOf .}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" says more about a command.{{end}}
`

func init() { cobra.AddTemplateFunc("flagsOf", flagsOf) }

// showHelp prints the help. The caller of the command checks whether it could be written.
func showHelp(cmd *cobra.Command, _ []string) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", descriptionOf(cmd), cmd.UsageString())
}

// descriptionOf returns the description of a command, wrapped to the width of the terminal. Indented lines are
// not wrapped.
func descriptionOf(cmd *cobra.Command) string {
	text, width := strings.TrimSpace(cmd.Long), widthOf(cmd)
	if text == "" {
		text = cmd.Short
	}
	var out strings.Builder
	column := 0
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || line[0] == ' ' || line[0] == '\t' {
			if column > 0 {
				out.WriteByte('\n')
			}
			out.WriteString(line)
			column = 0
			continue
		}
		for word := range strings.FieldsSeq(line) {
			switch n := utf8.RuneCountInString(word); {
			case column == 0:
				column = n
			case column+1+n > width:
				out.WriteByte('\n')
				column = n
			default:
				out.WriteByte(' ')
				column += 1 + n
			}
			out.WriteString(word)
		}
	}
	return strings.TrimRight(out.String(), "\n")
}

// flagsOf returns the flags of a command, grouped by the sections of the configuration and wrapped to the width
// of the terminal.
func flagsOf(cmd *cobra.Command) string {
	width := widthOf(cmd)
	sections := map[string]*pflag.FlagSet{}
	var order []string
	add := func(title string, f *pflag.Flag) {
		if sections[title] == nil {
			sections[title] = pflag.NewFlagSet("", pflag.ContinueOnError)
			sections[title].SortFlags = false
			order = append(order, title)
		}
		sections[title].AddFlag(f)
	}
	const own = "Flags"
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		switch section, bound := f.Annotations[configs.FlagSection]; {
		case !bound:
			add(own, f)
		case section[0] == "":
			add("General settings", f)
		default:
			add("Settings of "+section[0], f)
		}
	})
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { add(own, f) })
	// Flags that are not settings come first, the rest in alphabetical order.
	slices.SortStableFunc(order, func(a, b string) int {
		if a == own || b == own {
			return strings.Compare(fmt.Sprint(a != own), fmt.Sprint(b != own))
		}
		return strings.Compare(a, b)
	})
	var text strings.Builder
	for _, title := range order {
		fmt.Fprintf(&text, "\n\n%s:\n%s", title, strings.TrimRight(sections[title].FlagUsagesWrapped(width), "\n"))
	}
	return text.String()
}

// widthOf returns the width of help.
func widthOf(cmd *cobra.Command) int {
	out := cmd.OutOrStdout()
	if s, ok := terminalOf(out); ok {
		out = s.Writer
	}
	if columns, _ := extentOf(out); columns > 0 {
		return min(max(columns, 40), broad)
	}
	return narrow
}

// newHelpCommand returns `sluice help`, which refuses unknown commands.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say more about a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begun) {
					out = append(out, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			found, rest, err := root.Find(args)
			if err != nil || found == root && len(args) > 0 || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// completeWords registers completions for flags with few values, and disables file completion for arguments that
// are not files.
func completeWords(cmd *cobra.Command) {
	words := map[string][]string{
		"algorithm": {"fossil", "xdelta3"}, "format": {"yaml", "json"}, "delta": {"true", "false"}, "protocol": {"1", "2"},
	}
	if files := cmd.Name() == "import" || cmd.Name() == "init"; cmd.HasParent() && !files {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		list := f.Annotations[configs.FlagWords]
		if _, bound := f.Annotations[configs.FlagSection]; !bound {
			list = words[f.Name]
		}
		if len(list) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp))
		}
	})
}
