package transcript

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const sample = `# About the file.

# The first step.
add 1 2
add 3
----
3
6

# A step that says nothing.
nothing
----

add -6
----
0
`

// adder is what the sample speaks of.
func adder() func(t *testing.T, input []string) string {
	sum := 0
	return func(t *testing.T, input []string) string {
		var out strings.Builder
		for _, l := range input {
			words := strings.Fields(l)
			if words[0] != "add" {
				continue
			}
			for _, w := range words[1:] {
				n, err := strconv.Atoi(w)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			out.WriteString(strconv.Itoa(sum) + " \n\n")
		}
		return out.String()
	}
}

func TestRunComparesSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sum.txt")
	if err := os.WriteFile(path, []byte(sample), 0o644); err != nil {
		t.Fatal(err)
	}
	Run(t, path, adder())
}

// What is read and written again is the same file, and wrong output is replaced.
func TestUpdateWritesWhatCame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sum.txt")
	wrong := strings.Replace(sample, "3\n6", "7", 1)
	if err := os.WriteFile(path, []byte(wrong), 0o644); err != nil {
		t.Fatal(err)
	}
	before := *update
	*update = true
	defer func() { *update = before }()
	Run(t, path, adder())
	if got, err := os.ReadFile(path); err != nil || string(got) != sample {
		t.Errorf("%v, written:\n%s", err, got)
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no separator":          "add 1\n",
		"a blank line too soon": "add 1\n\nadd 2\n----\n3\n",
		"no input":              "----\n3\n",
		"two separators":        "add 1\n----\n1\n----\n",
		"comments alone":        "# nothing\n",
	} {
		if steps, err := parse(text); err == nil {
			t.Errorf("%s: %v", name, steps)
		}
	}
}
