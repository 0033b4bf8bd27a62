package house

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks are the kinds of blocks of code in the pages, by what stands behind the fence: which test
// looks at all of a kind, or why none does and how many there are.
var blocks = map[string]struct {
	by   string
	most int
}{
	"sh":              {by: "TestRun17EveryCommandOfThePages"},
	"console":         {by: "TestRun17EveryCommandOfThePages"},
	"yaml":            {by: "TestRun10SettingsOfThePagesAreGood"},
	"yaml app":        {by: "TestRun10SettingsOfThePagesAreGood"},
	"yaml helm":       {by: "TestRun10SettingsOfThePagesAreGood"},
	"yaml prometheus": {by: "TestRun10SettingsOfThePagesAreGood"}, // as YAML alone
	"yaml traefik":    {by: "TestRun10SettingsOfThePagesAreGood"}, // as YAML alone
	"js":              {by: "TestRun10ScriptsOfThePages"},
	"json":            {by: "TestRun10BlocksOfThePages"},
	"ini":             {by: "TestRun10BlocksOfThePages"},
	"text":            {by: "not run: pictures, and what goes over the wire", most: 8},
	"php":             {by: "TestRun17PHPOfThePages"},
	"caddy":           {by: "TestRun17CaddyOfThePages"},
}

// block is one of a page.
type block struct{ kind, text string }

// blocksOf are the blocks of a page. loose are lines that are shown as code by their indentation
// alone, of which nobody knows the kind.
func blocksOf(text string) (out []block, loose []string) {
	open, before := false, ""
	for line := range strings.SplitSeq(text, "\n") {
		kind, is := strings.CutPrefix(line, "```")
		switch {
		case is && open:
			open = false
		case is:
			open = true
			out = append(out, block{kind: kind})
		case open:
			out[len(out)-1].text += line + "\n"
		case strings.HasPrefix(line, "    ") && strings.TrimSpace(before) == "":
			loose = append(loose, line)
		}
		before = line
	}
	return out, loose
}

var setting = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=(\S+|"[^"]*")$`)

// TestRun10BlocksOfThePages: each has a kind that a test looks at, or is counted as one that none
// does.
func TestRun10BlocksOfThePages(t *testing.T) {
	tests, counts := testsOf(t), map[string]int{}
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found, loose := blocksOf(string(text))
		for _, line := range loose {
			t.Errorf("%s shows %q as code without saying what it is; put it into a block with a fence", page, line)
		}
		for _, b := range found {
			counts[b.kind]++
			by := blocks[b.kind].by
			switch {
			case by == "":
				t.Errorf("%s has a block of %q, which no test looks at:\n%s", page, b.kind, b.text)
			case strings.HasPrefix(by, "Test") && !tests[by]:
				t.Errorf("%s has a block of %q, and there is no test %s", page, b.kind, by)
			}
			goesOn := false
			for line := range strings.SplitSeq(strings.TrimSpace(b.text), "\n") {
				begins := !goesOn && line != ""
				goesOn = strings.HasSuffix(line, `\`)
				switch {
				case begins && (b.kind == "sh" || b.kind == "console") && !command.MatchString(line):
					t.Errorf("%s: this line is no command that a test looks for: %s", page, line)
				case b.kind == "json" && !json.Valid([]byte(line)):
					t.Errorf("%s: this line is no JSON: %s", page, line)
				case b.kind == "ini" && line != "" && !setting.MatchString(line):
					t.Errorf("%s: this line is no setting: %s", page, line)
				case b.kind == "text" && command.MatchString(line):
					t.Errorf("%s has the command %q in a block of text, where no test looks for it", page, line)
				}
			}
		}
	}
	for kind, b := range blocks {
		switch n := counts[kind]; {
		case n == 0:
			t.Errorf("no page has a block of %q any more", kind)
		case !strings.HasPrefix(b.by, "Test") && n > b.most:
			t.Errorf("%d blocks of %q are not run by anything (%s), and it was %d: run them, or count them", n, kind, b.by, b.most)
		}
	}
	t.Log(counts)
}

// pages are those that people read.
func pages(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(found) < 10 {
		t.Fatal(found, err)
	}
	return append(found, "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md")
}
