package house

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// twinRun is how many lines in a row make a run that was copied.
	twinRun = 6
	// maxTwins is how many lines the two logs may have of such runs, both sides counted.
	maxTwins = 119
)

// twinLine is a line that says something, with its place.
type twinLine struct {
	file string
	line int
	text string
}

// twinLines are the lines of a package's product code without imports, comments and blank
// ones. Files are set apart.
func twinLines(t *testing.T, dir string) (lines []twinLine) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", dir, files, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		imports := false
		for i, l := range strings.Split(string(text), "\n") {
			l = strings.TrimSpace(l)
			switch {
			case l == "import (":
				imports = true
			case imports:
				imports = l != ")"
			case l == "", strings.HasPrefix(l, "//"), strings.HasPrefix(l, "package "), strings.HasPrefix(l, "import "):
			default:
				lines = append(lines, twinLine{filepath.Base(path), i + 1, l})
			}
		}
		lines = append(lines, twinLine{file: filepath.Base(path)}) // equal to no other
	}
	return lines
}

// twins counts the lines of a and of b that are in a run of equal ones, and tells of the runs.
func twins(a, b []twinLine, tell func(a, b twinLine, n int)) int {
	places := map[string][]int{}
	for j, l := range b {
		if l.text != "" {
			places[l.text] = append(places[l.text], j)
		}
	}
	inA, inB := map[int]bool{}, map[int]bool{}
	for i := range a {
		for _, j := range places[a[i].text] {
			if i > 0 && j > 0 && a[i-1].text != "" && a[i-1].text == b[j-1].text {
				continue // in the middle of a run
			}
			n := 0
			for i+n < len(a) && j+n < len(b) && a[i+n].text != "" && a[i+n].text == b[j+n].text {
				n++
			}
			if n < twinRun {
				continue
			}
			tell(a[i], b[j], n)
			for k := range n {
				inA[i+k], inB[j+k] = true, true
			}
		}
	}
	return len(inA) + len(inB)
}

func TestTwinsAreFound(t *testing.T) {
	lines := func(text string) (out []twinLine) {
		for _, l := range strings.Fields(text) {
			out = append(out, twinLine{text: strings.Trim(l, "-")}) // a dash ends a file
		}
		return out
	}
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1 2 3 4 5 6", "0 1 2 3 4 5 6 7", 12},
		{"1 2 3 4 5", "1 2 3 4 5", 0},
		{"1 2 3 - 4 5 6", "1 2 3 - 4 5 6", 0},
		{"1 2 3 4 5 6 9 1 2 3 4 5 6 7", "1 2 3 4 5 6 7", 20},
	} {
		if got := twins(lines(c.a), lines(c.b), func(_, _ twinLine, _ int) {}); got != c.want {
			t.Errorf("%q and %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestTheLogsAreNoTwins counts what stands in both logs. What following a channel is belongs
// into a package of both; a log has what is its own.
func TestTheLogsAreNoTwins(t *testing.T) {
	var said strings.Builder
	sum := twins(twinLines(t, "streams"), twinLines(t, "broker/redis"), func(a, b twinLine, n int) {
		fmt.Fprintf(&said, "streams/%s:%d = broker/redis/%s:%d, %d lines: %s\n", a.file, a.line, b.file, b.line, n, a.text)
	})
	t.Logf("%d lines of streams and broker/redis are in runs that stand in both\n%s", sum, &said)
	if sum > maxTwins {
		t.Errorf("want at most %d", maxTwins)
	}
}
