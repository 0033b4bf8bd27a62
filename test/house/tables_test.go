package house

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRowsHaveTheCellsOfTheirTable: a row that came into another table has other cells, and a pipe that is not escaped makes one more.
func TestRowsHaveTheCellsOfTheirTable(t *testing.T) {
	rows := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			cells, code := 0, false
			for i, line := range strings.Split(string(text), "\n") {
				if strings.HasPrefix(line, "```") {
					code = !code
				}
				if code || !strings.HasPrefix(line, "|") {
					cells = 0
					continue
				}
				rows++
				n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") - 1
				if cells == 0 {
					cells = n
				}
				if n != cells || !strings.HasSuffix(line, "|") {
					t.Errorf("%s, line %d has %d cells, and its table %d", page, i+1, n, cells)
				}
			}
		}
	}
	if rows < 500 {
		t.Errorf("only %d rows are found", rows)
	}
}
