package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls each with all commands, whatever they are below, and what is typed for them.
func everyCommand(each func(c *cobra.Command, path []string)) {
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		each(c, path)
		for _, sub := range c.Commands() {
			walk(sub, append(path[:len(path):len(path)], sub.Name()))
		}
	}
	walk(newRoot(), nil)
}

// named finds command lines of this program in a text.
var named = regexp.MustCompile(`(?:^|[^/\w."=-])sluice ((?:[a-z]+ ?)+)`)

// TestEveryTextNamesWholeCommands: what a command says of itself or of others, in its help, its manual page and its
// complaints, can be typed as it stands. "sluice set ID" was said of "sluice app set ID".
func TestEveryTextNamesWholeCommands(t *testing.T) {
	pages := t.TempDir()
	if status, _, said := execute(t, "", "man", pages); status != exitOK {
		t.Fatal(said)
	}
	check := func(where, text string) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			c := newRoot()
			for i, word := range strings.Fields(m[1]) {
				next, _, err := c.Find([]string{word})
				switch {
				case err == nil && next != c:
					c = next
					continue
				case i == 0 && (word == "does" || word == "in"):
					// It is the subject of a sentence, or a directory.
				case i == 0:
					t.Errorf("%s: there is no %q: %s", where, "sluice "+word, m[0])
				case c.HasSubCommands() && word != "takes":
					t.Errorf("%s: there is no %q below %q", where, word, c.CommandPath())
				}
				break
			}
		}
	}
	commands := 0
	everyCommand(func(c *cobra.Command, path []string) {
		commands++
		whole := strings.Join(append([]string{"sluice"}, path...), " ")
		status, help, _ := execute(t, "", append(path[:len(path):len(path)], "--help")...)
		if status != exitOK || !strings.Contains(help, "Usage:\n  "+whole) {
			t.Errorf("%s --help: status %d, without its own name:\n%s", whole, status, help)
		}
		check(whole+" --help", help)
		if c.Name() != "help" && len(path) > 0 {
			page, err := os.ReadFile(filepath.Join(pages, strings.ReplaceAll(whole, " ", "-")+".1"))
			if err != nil && !c.Hidden {
				t.Error(err)
			}
			check("man "+whole, strings.NewReplacer("\\fB", "", "\\fP", "", "\\-", "-").Replace(string(page)))
		}
		if len(path) == 0 || c.Name() == "help" || strings.Contains(c.Use, "...") {
			return
		}
		status, out, said := execute(t, "", append(path[:len(path):len(path)], "one", "two", "three", "four")...)
		if status != exitUsage || out != "" || !strings.Contains(said, whole+" ") && !strings.Contains(said, `"`+whole+`"`) {
			t.Errorf("%s with too much: status %d, %q", whole, status, said)
		}
		check(whole+" with too much", said)
	})
	if commands < 40 {
		t.Errorf("only %d commands were looked at", commands)
	}
}

// TestEveryFlagSaysWhatItTakes: a word in backquotes is what help shows as the value of a flag, so it has to be one.
func TestEveryFlagSaysWhatItTakes(t *testing.T) {
	kinds := regexp.MustCompile(`^(|string|int|uint|float|duration|text|path|list|stringArray|stringToString|[A-Z]+(=[A-Z]+)?)$`)
	everyCommand(func(c *cobra.Command, path []string) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name, _ := pflag.UnquoteUsage(f); !kinds.MatchString(name) {
				t.Errorf("%v --%s takes %q", path, f.Name, name)
			}
		})
	})
}
