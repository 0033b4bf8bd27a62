package configs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRun10EverySectionStandsOnce looks for headings that the reference has twice.
func TestRun10EverySectionStandsOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range strings.Split(Reference(), "\n") {
		if strings.HasPrefix(line, "## ") && seen[line] {
			t.Errorf("%s stands there twice", line)
		}
		seen[line] = true
	}
	for i := range keys {
		if row := "| `" + keys[i].name + "` |"; keys[i].kind != tree && strings.Count(Reference(), "\n"+row) != 1 {
			t.Errorf("%s stands there %d times", keys[i].name, strings.Count(Reference(), "\n"+row))
		}
	}
}

// TestRun10PagesNameKeysThatExist looks for the keys with a dot that pages name.
func TestRun10PagesNameKeysThatExist(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	found := 0
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range foreignKeys(string(text), &found) {
			t.Errorf("%s names the key %s, which is not there", page, name)
		}
	}
	if found < 100 {
		t.Errorf("only %d keys were found", found)
	}
}

var dotted = regexp.MustCompile("`((?:[a-z_]+\\.)+[a-z_]+)(?:[:=][^`]*)?`")

// foreignKeys are the names in backticks that begin like a key and are none.
func foreignKeys(text string, found *int) (wrong []string) {
	var names, sections []string
	for i := range keys {
		names = append(names, keys[i].name)
		if section, _, nested := strings.Cut(keys[i].name, "."); nested {
			sections = append(sections, section)
		}
	}
	for _, m := range dotted.FindAllStringSubmatch(text, -1) {
		section, _, _ := strings.Cut(m[1], ".")
		// Packages and tests are written alike.
		if !slices.Contains(sections, section) || strings.HasSuffix(m[1], ".go") {
			continue
		}
		*found++
		above := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, m[1]+".") })
		if !above && !slices.Contains(names, m[1]) {
			wrong = append(wrong, m[1])
		}
	}
	return wrong
}

func TestRun10WrongKeysAreFound(t *testing.T) {
	found := 0
	got := foreignKeys("`nats.url`, `nats.tls.ca_file`, `nats.tls`, `nats.tls: {}`, `nats.uri`, `history.max_message: 4`, `other.thing`", &found)
	if want := []string{"nats.uri", "history.max_message"}; !slices.Equal(got, want) || found != 6 {
		t.Errorf("got %q of %d, want %q", got, found, want)
	}
}

// TestRun10ConfigurationsOfPagesLoad loads the whole configurations that pages show.
func TestRun10ConfigurationsOfPagesLoad(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```yaml\n(mode:.*?)```").FindAllStringSubmatch(string(text), -1) {
			found++
			file := filepath.Join(t.TempDir(), "sluice.yaml")
			shown := regexp.MustCompile(`(_file: )\S+`).ReplaceAllString(m[1], "${1}"+secret)
			if err := os.WriteFile(file, []byte(shown), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(Sources{File: file}); err != nil {
				t.Errorf("%s: %v\n%s", page, err, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no configuration was found")
	}
}
