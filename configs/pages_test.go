package configs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml( [a-z]+)?\n(.*?)^```")
	anyFile   = regexp.MustCompile(`(_file: |file: )(/[A-Za-z0-9/._-]+)`)
)

// TestRun10SettingsOfThePagesAreGood loads every block of YAML in the pages. A block marked as an app's is
// put below an app. Blocks marked as something else are only parsed, and those for the chart must name
// existing values.
func TestRun10SettingsOfThePagesAreGood(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	dir := t.TempDir()
	held := filepath.Join(dir, "held")
	if err := os.WriteFile(held, []byte("a-secret-of-32-bytes-or-more-that-nobody-uses\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	values, err := os.ReadFile("deploy/helm/sluice/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := yamlParser.Unmarshal(values)
	if err != nil {
		t.Fatal(err)
	}
	loaded, read := 0, 0
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			block := anyFile.ReplaceAllString(m[2], "${1}"+held)
			switch strings.TrimSpace(m[1]) {
			case "app":
				block = "apps:\n  - id: a\n    key: k\n    secret: s\n    " + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n    ") + "\n"
			case "":
				if !strings.Contains(block, "apps:") {
					block += "apps: [{id: a, key: k, secret: s}]\n"
				}
			default:
				read++
				tree, err := yamlParser.Unmarshal([]byte(block))
				if err != nil {
					t.Errorf("%s: %v in\n%s", page, err, m[2])
				}
				for name := range tree {
					if m[1] == " helm" && chart[name] == nil {
						t.Errorf("%s: the chart has no value %s", page, name)
					}
				}
				continue
			}
			loaded++
			file := filepath.Join(dir, "sluice.yaml")
			if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(Sources{File: file, Environ: []string{"APP_KEY=key"}}); err != nil {
				t.Errorf("%s: %v\n%s", page, err, m[2])
			}
		}
	}
	if loaded < 10 || read < 3 {
		t.Errorf("only %d and %d blocks were found", loaded, read)
	}
}
