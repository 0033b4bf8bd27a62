package transcript

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what comes out into the transcripts")

// separator is the line between the input and the output of a step.
const separator = "----"

// step is one step of a file. Its comments stand before the input.
type step struct {
	line            int
	comments, input []string
	output          string
}

// parse splits a file into steps.
func parse(text string) (steps []step, err error) {
	var s *step
	inOutput := false
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimRight(l, " \t\r")
		switch {
		case l == "" && s != nil && !inOutput && len(s.input) > 0:
			return nil, fmt.Errorf("line %d: the input has no line %s behind it", i+1, separator)
		case l == "" && s != nil && !inOutput: // comments that belong to the file alone
			s.comments = append(s.comments, "")
		case l == "":
			s, inOutput = nil, false
		case inOutput && l == separator:
			return nil, fmt.Errorf("line %d: a second line %s", i+1, separator)
		case inOutput:
			s.output += l + "\n"
		default:
			if s == nil {
				steps = append(steps, step{line: i + 1})
				s = &steps[len(steps)-1]
			}
			switch {
			case l == separator && len(s.input) == 0:
				return nil, fmt.Errorf("line %d: no input before %s", i+1, separator)
			case l == separator:
				inOutput = true
			case strings.HasPrefix(l, "#") && len(s.input) == 0:
				s.comments = append(s.comments, l)
			default:
				s.input = append(s.input, l)
			}
		}
	}
	if s != nil && !inOutput {
		return nil, fmt.Errorf("the last step has no line %s", separator)
	}
	return steps, nil
}

func (s *step) String() string {
	var b strings.Builder
	for _, l := range append(s.comments, s.input...) {
		b.WriteString(l + "\n")
	}
	return b.String() + separator + "\n" + s.output
}

// tidy normalizes an output so that it can be stored in a file.
func tidy(output string) string {
	var b strings.Builder
	for _, l := range strings.Split(output, "\n") {
		if l = strings.TrimRight(l, " \t\r"); l != "" {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// Run calls do with the input of each step of a file, one after another, and compares the result with the
// output in the file. do may keep state between steps. Blank lines and trailing blanks are ignored.
func Run(t *testing.T, path string, do func(t *testing.T, input []string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := parse(string(text))
	if err != nil || len(steps) == 0 {
		t.Fatalf("%s: %d steps, %v", path, len(steps), err)
	}
	var written []string
	for i := range steps {
		s := &steps[i]
		got := tidy(do(t, s.input))
		if diff := cmp.Diff(s.output, got); diff != "" && !*update {
			t.Errorf("%s:%d: %s\nin the file (-) and what came (+), -update writes it:\n%s", path, s.line, s.input[0], diff)
		}
		s.output = got
		written = append(written, s.String())
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(path, []byte(strings.Join(written, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Each runs all transcripts that match a pattern, each in a test of its own. start prepares the state for one
// file and returns the function that executes its steps.
func Each(t *testing.T, pattern string, start func(t *testing.T) func(t *testing.T, input []string) string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no transcripts, %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), func(t *testing.T) {
			Run(t, path, start(t))
		})
	}
}
