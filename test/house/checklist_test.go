package house

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the column of tests in docs/checklist.md")

const checklist = "../../docs/checklist.md"

// The groups of ids are named by the page. In names of tests an id has no dash.
var (
	checklistRow = regexp.MustCompile(`^\| ([A-Z0-9]{2,4})-([0-9]{2}) \| (.*) \| (.*) \|$`)
	functionName = regexp.MustCompile(`^func (?:\([^)]*\) )?(\w+)`)
)

// notYet stands in place of tests where something is not built.
const notYet = "not yet"

// TestChecklistNamesItsTests compares docs/checklist.md with the tests: each id that a test
// names is in the page, and each id of the page has the tests that name it or is not built yet.
func TestChecklistNamesItsTests(t *testing.T) {
	text, err := os.ReadFile(checklist)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	groups, ids := map[string]bool{}, map[string]bool{}
	for _, l := range lines {
		if m := checklistRow.FindStringSubmatch(l); m != nil {
			id := m[1] + "-" + m[2]
			if ids[id] {
				t.Errorf("%s is in the page twice", id)
			}
			groups[m[1]], ids[id] = true, true
		}
	}
	if len(ids) < 300 {
		t.Fatalf("%d ids were found in the page", len(ids))
	}
	shown := testsOfIDs(t, slices.Sorted(maps.Keys(groups)))
	for id, tests := range shown {
		if !ids[id] {
			t.Errorf("%s is named by %s and not in docs/checklist.md", id, strings.Join(tests, ", "))
		}
	}
	for i, l := range lines {
		m := checklistRow.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		want := notYet
		if tests := shown[m[1]+"-"+m[2]]; len(tests) > 0 {
			want = strings.Join(tests, ", ")
		}
		if m[4] != want && !*update {
			t.Errorf("%s-%s: the page says %q, the tests say %q; to write it: go test ./test/house -run Checklist -update", m[1], m[2], m[4], want)
		}
		lines[i] = fmt.Sprintf("| %s-%s | %s | %s |", m[1], m[2], m[3], want)
	}
	if *update {
		if err := os.WriteFile(checklist, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// testsOfIDs finds the tests that name the ids of some groups.
func testsOfIDs(t *testing.T, groups []string) map[string][]string {
	t.Helper()
	any := strings.Join(groups, "|")
	patterns := []*regexp.Regexp{
		regexp.MustCompile(`\b(` + any + `)-([0-9]{2})\b(?: to (` + any + `)-([0-9]{2}))?`),
		regexp.MustCompile(`(?:Test|Fuzz|_)(` + any + `)([0-9]{2})(?:\D|$)`),
	}
	shown := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || path == "../../test/house"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go") && !(strings.HasSuffix(path, ".txt") && strings.Contains(path, "testdata")):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), filepath.Join("..", "..")+string(filepath.Separator)))
		lines := strings.Split(string(text), "\n")
		for i, l := range lines {
			for _, id := range idsIn(l, patterns) {
				test := fmt.Sprintf("`%s` %s", pkg, functionOf(lines, i))
				if strings.HasSuffix(path, ".txt") { // a transcript
					test = fmt.Sprintf("`%s` %s", pkg, filepath.Base(path))
				}
				if !slices.Contains(shown[id], test) {
					shown[id] = append(shown[id], test)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tests := range shown {
		slices.Sort(tests)
	}
	return shown
}

// idsIn are the ids that a line names, with those between the ends of a range.
func idsIn(line string, patterns []*regexp.Regexp) (ids []string) {
	for k, p := range patterns {
		if k == 1 && !strings.HasPrefix(line, "func ") {
			continue
		}
		for rest := line; ; {
			at := p.FindStringSubmatchIndex(rest)
			if at == nil {
				break
			}
			m := p.FindStringSubmatch(rest)
			last := m[2]
			if len(m) > 4 && m[3] == m[1] {
				last = m[4]
			}
			for n := number(m[2]); n <= number(last); n++ {
				ids = append(ids, fmt.Sprintf("%s-%02d", m[1], n))
			}
			next := at[1]
			if k == 1 {
				next = at[5] // ids in a name share what stands between them
			}
			rest = rest[next:]
		}
	}
	return ids
}

func number(digits string) (n int) {
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	return n
}

// functionOf is the function that a line belongs to: the one around it, or the next one for
// comments and tables before it.
func functionOf(lines []string, i int) string {
	for k := i; k >= 0 && (k == i || lines[k] != "}"); k-- {
		if m := functionName.FindStringSubmatch(lines[k]); m != nil {
			return m[1]
		}
	}
	for k := i; k < len(lines); k++ {
		if m := functionName.FindStringSubmatch(lines[k]); m != nil {
			return m[1]
		}
	}
	return "?"
}

func TestIDsAreFound(t *testing.T) {
	patterns := []*regexp.Regexp{
		regexp.MustCompile(`\b(EV|CO)-([0-9]{2})\b(?: to (EV|CO)-([0-9]{2}))?`), regexp.MustCompile(`(?:Test|Fuzz|_)(EV|CO)([0-9]{2})(?:\D|$)`),
	}
	for line, want := range map[string][]string{
		"// EV-01 to EV-03 and CO-09":          {"EV-01", "EV-02", "EV-03", "CO-09"},
		"func TestEV17_EV18_Channels(t":        {"EV-17", "EV-18"},
		"func FuzzCO08_ApplyFossil(f":          {"CO-08"},
		"func TestEV16WithoutTheLog(t":         {"EV-16"},
		"	x := TestEV16_":                      nil,
		`	{"EV-09 201 bytes", true}, // UTF-8`: {"EV-09"},
	} {
		if got := idsIn(line, patterns); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", line, got, want)
		}
	}
}
