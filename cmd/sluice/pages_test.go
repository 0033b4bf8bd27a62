package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// calls finds the commands of a page, in a code block or in a text.
var calls = regexp.MustCompile("(?:^\\s*(?:go run \\./cmd/|\\./)?|`(?:\\./)?|\\$\\((?:\\./)?|[|] )sluice( [^`)|#>]*)")

// TestPagesCallWhatIsThere checks the subcommands and flags that the pages name.
func TestPagesCallWhatIsThere(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	// These are names of the connections to NATS.
	names := []string{"feed", "read", "limits"}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			for _, m := range calls.FindAllStringSubmatch(line, -1) {
				words := strings.Fields(m[1])
				if len(words) == 1 && slices.Contains(names, words[0]) {
					continue
				}
				if problem := uncallable(words); problem != "" {
					t.Errorf("%s:%d: sluice%s: %s", page, n+1, m[1], problem)
				}
				seen++
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d calls were found", seen)
	}
}

// uncallable says why words are not a valid command line, empty if they are.
func uncallable(words []string) string {
	cmd := newRoot()
	if len(words) > 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(words[0]) {
		found, _, err := cmd.Find(words[:1])
		if err != nil || !found.HasParent() {
			return "there is no command " + words[0]
		}
		cmd, words = found, words[1:]
		if len(words) > 0 && cmd.HasSubCommands() {
			if below, _, err := cmd.Find(words[:1]); err == nil && below != cmd {
				cmd, words = below, words[1:]
			}
		}
	}
	cmd.InitDefaultHelpFlag()
	for _, w := range words {
		name, long := strings.CutPrefix(w, "--")
		if !long {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		if name != "" && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
			return "there is no flag --" + name
		}
	}
	return ""
}

func TestPagesWithWrongCallsAreFound(t *testing.T) {
	for words, wrong := range map[string]bool{
		"publish lobby --event x": false, "--config FILE": false, "--log-level debug": false, "serve --port 1": false,
		"bench slow --slow-rate 10": false, "bench publish --slow-rate 10": true,
		"publsih lobby": true, "history lobby --newestt": true, "--confg FILE": true,
	} {
		if got := uncallable(strings.Fields(words)); (got != "") != wrong {
			t.Errorf("sluice %s: %q", words, got)
		}
	}
}
