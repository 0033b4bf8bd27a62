package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicehq/sluice/configs"
)

// everyCommand calls each with every command and the words that select it.
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

// TestEveryTextNamesWholeCommands: command lines in help, manual pages and error messages can be typed as
// they are. Before, "sluice set ID" was written for "sluice app set ID".
func TestEveryTextNamesWholeCommands(t *testing.T) {
	pages := t.TempDir()
	if status, _, said := execute(t, "", "man", pages); status != exitOK {
		t.Fatal(said)
	}
	root := newRoot()
	check := func(where, text string) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			c := root
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

// TestEveryFlagSaysWhatItTakes: help shows a word in backquotes as the value of a flag, so it has to be one.
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

// TestEveryFlagSaysWhatItMustBe: a value of a wrong kind is refused with the flag, the value and the wanted
// kind, and without words of the parsing library.
func TestEveryFlagSaysWhatItMustBe(t *testing.T) {
	theirs := regexp.MustCompile(`strconv|time: |parsing|invalid |syntax|goroutine`)
	flags := 0
	everyCommand(func(c *cobra.Command, path []string) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "int", "uint64", "float64", "duration", "bool", "stringToString":
			default:
				return
			}
			if _, setting := f.Annotations[configs.FlagSection]; setting || f.Name == "help" || f.Name == "version" {
				return // settings are read together, with their own messages
			}
			flags++
			status, out, said := execute(t, "", append(path[:len(path):len(path)], "--"+f.Name+"=odd")...)
			if status == exitOK || out != "" || theirs.MatchString(said) || !strings.Contains(said, "--"+f.Name) || !strings.Contains(said, `"odd"`) ||
				!strings.Contains(said, "must be ") {
				t.Errorf("%v --%s=odd: status %d, %q", path, f.Name, status, said)
			}
		})
	})
	if flags < 60 {
		t.Errorf("only %d flags were looked at", flags)
	}
}

// TestSenselessCommandLines: a senseless command line is refused before any work is done.
func TestSenselessCommandLines(t *testing.T) {
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, "--rate is NaN, must be 0.01 to 1000000", []string{"bench", "subscribe", "--rate", "NaN"}},
		{exitUsage, "--connections is 100000000, must be 1 to 1000000", []string{"bench", "subscribe", "--connections", "100000000"}},
		{exitUsage, "--channels is 9, must not be more than --connections, 8", []string{"bench", "slow", "--connections", "8", "--channels", "9"}},
		{exitFailure, "--json: open /nowhere/x.json", []string{"bench", "subscribe", "--json", "/nowhere/x.json"}},
		{exitUsage, `--nats-prefix is "prod", must be`, []string{"subject", "a", "b", "--nats-prefix", "prod"}},
		{exitUsage, `--nats-prefix is "A*.", must be`, []string{"publish", "a", "b", "--nats", "nats://127.0.0.1:1", "--nats-prefix", "A*."}},
		{exitUsage, "--for is 25h0m0s, must be from 1s to 24h", []string{"token", "a", "--for", "25h"}},
		{exitUsage, "--limit is -1, must not be negative", []string{"history", "a", "--limit", "-1"}},
		{exitUsage, "--count is -1, must not be negative", []string{"demo", "--count", "-1"}},
		{exitFailure, "type the name of the channel: \nsluice: that is not", []string{"purge", "lobby"}},
	} {
		if status, out, said := execute(t, "", c.args...); status != c.status || out != "" || !strings.Contains(said, c.want) {
			t.Errorf("%v: status %d, %q %q, want %q", c.args, status, out, said, c.want)
		}
	}
	// Checking whether a result can be written leaves an existing file unchanged.
	before, none := writeFile(t, "before.json", "kept"), filepath.Join(t.TempDir(), "none.json")
	for _, path := range []string{before, none, "-", ""} {
		if err := (&benchOptions{result: path}).writable(); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(before)
	if _, missing := os.Stat(none); err != nil || string(text) != "kept" || missing == nil {
		t.Errorf("%q, %v, %v", text, err, missing)
	}
}

// TestTheCommandThatGoesOnIsTypedLikeTheOneThatStopped: the printed command uses the path by which the
// program was started.
func TestTheCommandThatGoesOnIsTypedLikeTheOneThatStopped(t *testing.T) {
	was := os.Args[0]
	defer func() { os.Args[0] = was }()
	for typed, want := range map[string]string{"./sluice": "./sluice", "../my bin/sluice": "'../my bin/sluice'", "/opt/sluice": "sluice", "sluice": "sluice"} {
		os.Args[0] = typed
		cmd, _, err := newRoot().Find([]string{"bench", "self"})
		if err != nil {
			t.Fatal(err)
		}
		if got := goOn(cmd, []string{"c"}, nil); got != want+" bench self c" {
			t.Errorf("%s goes on with %s", typed, got)
		}
		if got := tornLine(errCutOff, record{Channel: "c", Serial: 7}); !strings.Contains(got, "\n  "+want+" export c --from 8 ") {
			t.Errorf("%s goes on with %s", typed, got)
		}
	}
}
