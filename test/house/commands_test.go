package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	command   = regexp.MustCompile(`^([A-Z_]+=\S+ )*(\./|bin/)?(sluice|go test|go build|go run|curl|docker|nats|systemctl|kubectl|scripts/[a-z]+|make|npm|jq|openssl|php|composer|helm|git|kill)( [^─]*)?$`)
	testNames = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// testsOf are the names of all tests.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			if err == nil {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testNames.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// anchor is that of a heading, as pages are shown.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

var (
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// section is a link with the name of a section behind it.
	section = regexp.MustCompile(`\]\(([a-zA-Z/._-]+\.md)\),\s"([^"]+)"`)
)

// TestRun10LinksLeadToSections follows links with an anchor, and the names of sections behind links.
func TestRun10LinksLeadToSections(t *testing.T) {
	titles := func(path string) (names, anchors map[string]bool) {
		names, anchors = map[string]bool{}, map[string]bool{}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		for _, m := range headings.FindAllStringSubmatch(string(text), -1) {
			// What is behind it in brackets says which parts of the specification it is about.
			name, _, _ := strings.Cut(m[1], " [")
			names[name], anchors[anchor(m[1])] = true, true
		}
		return names, anchors
	}
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range section.FindAllStringSubmatch(string(text), -1) {
			if names, _ := titles(filepath.Join(filepath.Dir(page), m[1])); !names[m[2]] {
				t.Errorf("%s names the section %q of %s, which is not there", page, m[2], m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, at, ok := strings.Cut(m[1], "#")
			if !ok || strings.Contains(to, "://") {
				continue
			}
			target := page
			if to != "" {
				target = filepath.Join(filepath.Dir(page), to)
			}
			if _, anchors := titles(target); !anchors[at] {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}

// TestRun10NothingIsInThePagesTwice: no section, and no key of the configuration.
func TestRun10NothingIsInThePagesTwice(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^(##+ .+)$`).FindAllStringSubmatch(string(text), -1) {
			if seen[m[1]] {
				t.Errorf("%s has the section %q twice", page, m[1])
			}
			seen[m[1]] = true
		}
		if filepath.Base(page) != "configuration.md" {
			continue
		}
		part := ""
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "#") {
				part = ""
				if strings.Contains(line, "apps") {
					part = line
				}
			}
			if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok && strings.HasPrefix(line, "| `") {
				if seen[part+name] {
					t.Errorf("the key %s is described twice", name)
				}
				seen[part+name] = true
			}
		}
	}
}

// TestChangelogHasEachSectionOnce: a careless merge had whole sections of a version twice.
func TestChangelogHasEachSectionOnce(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range strings.Split(string(text), "\n## ")[1:] {
		name, rest, _ := strings.Cut(version, "\n")
		seen := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^###+ (.+)$`).FindAllStringSubmatch(rest, -1) {
			if seen[m[1]] {
				t.Errorf("CHANGELOG.md has the section %q of %s twice", m[1], name)
			}
			seen[m[1]] = true
		}
	}
}
