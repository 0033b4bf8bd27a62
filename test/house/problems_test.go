package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// problem finds how the sentences of /ready begin: in calls that note one, and in constants and
// fields that such calls take.
var problem = []*regexp.Regexp{
	regexp.MustCompile(`\.(?:problem|appProblem|appNote|say)\((?:[a-z.A-Z]*(?:"")?, )?"([^"]{4,})"`),
	regexp.MustCompile(`\bstoring\.what(?:, [a-z.]+)? = "([^"]+)"`),
	regexp.MustCompile(`const (?:storing|settings|shortPayload) = "([^"]+)"`),
	regexp.MustCompile(`return fmt\.Sprintf\("(connections [^:%"]+)`),
	regexp.MustCompile(`h\.lack\(what, fmt\.Sprintf\("%s ([^:%"]+)`),
	regexp.MustCompile(`out = append\(out, "([^:"]+)`),
}

// TestRun10EveryProblemHasAWayOut looks for each problem that the code can name in the table of
// docs/troubleshooting.md.
func TestRun10EveryProblemHasAWayOut(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| The sentence begins |")
	table, _, _ = strings.Cut(table, "\n\n")
	found := map[string]bool{}
	for _, dir := range []string{"streams", "broker/redis", "gateway"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, p := range problem {
				for _, m := range p.FindAllStringSubmatch(string(text), -1) {
					begin := strings.Trim(m[1], " :")
					found[begin] = true
					if !strings.Contains(table, begin) {
						t.Errorf("%s: %q is not in docs/troubleshooting.md", path, begin)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 12 {
		t.Errorf("only %d problems were found: %v", len(found), found)
	}
}
