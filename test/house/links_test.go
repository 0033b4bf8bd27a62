package house

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link = regexp.MustCompile(`\]\(([^)]+)\)`)
	// otherLink are those of other forms: by reference, in angle brackets (but for addresses of this machine), of HTML.
	otherLink = regexp.MustCompile(`(?m)^\[[^\]]+\]: .*$|<https?://[a-z][^>]*>|<(?:a|img)\s[^>]*>|\]\[[^\]]*\]`)
	script    = regexp.MustCompile(`\bscripts/[a-z]+\b`)
	// outside are the hosts that a link may lead to.
	outside = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	target  = regexp.MustCompile("`?\\bmake ([a-z]+)\\b")
)

// TestPagesNameWhatIsThere follows the links between the pages, and looks for the scripts and
// targets that they name.
func TestPagesNameWhatIsThere(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../Makefile"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		pages = append(pages, found...)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, l := range strings.Split(string(makefile), "\n") {
		if names, _, ok := strings.Cut(l, ":"); ok && !strings.HasPrefix(l, "\t") && !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, ".") {
			targets = append(targets, strings.Fields(names)...)
		}
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], ":") {
				if u, err := url.Parse(m[1]); err != nil || u.Scheme != "https" || !outside.MatchString(u.Host) || u.User != nil {
					t.Errorf("%s links to %s, which is no address with https", page, m[1])
				}
				continue
			}
			if to == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), to)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
		// Links of other forms would not be looked at.
		for _, m := range otherLink.FindAllString(string(text), -1) {
			t.Errorf("%s has a link of another form than [text](address): %s", page, m)
		}
		for _, name := range script.FindAllString(string(text), -1) {
			if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
		if filepath.Base(page) != "CONTRIBUTING.md" {
			continue
		}
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s names make %s, which the Makefile has not", page, m[1])
			}
		}
	}
}
