package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxFunction is how many lines a function of the product may have: what fits on a screen.
const maxFunction = 70

// TestFunctionsFitOnAScreen reads all product code; suites of tests have long lists of cases.
func TestFunctionsFitOnAScreen(t *testing.T) {
	functions := 0
	for _, room := range rooms {
		if room == "test" || room == "scripts" {
			continue
		}
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				strings.HasSuffix(filepath.Dir(path), "brokertest") || strings.HasSuffix(filepath.Dir(path), "kvtest") {
				return err
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok {
					continue
				}
				functions++
				if n := files.Position(fn.End()).Line - files.Position(fn.Pos()).Line + 1; n > maxFunction {
					t.Errorf("%s: %s has %d lines, want at most %d", strings.TrimPrefix(path, "../../"), fn.Name.Name, n, maxFunction)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if functions < 1000 {
		t.Errorf("only %d functions were looked at", functions)
	}
}

// maxRoom is how many lines a room may have, without its tests, that everything else meets in
// and that grew into many things once. What is a thought of its own moves out of it.
var maxRoom = map[string]int{"gateway/hub": 4600}

func TestRoomsStaySmall(t *testing.T) {
	for room, most := range maxRoom {
		paths, err := filepath.Glob(filepath.Join("../..", room, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", room, len(paths), err)
		}
		lines := 0
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(text, []byte("\n"))
		}
		if lines >= most {
			t.Errorf("%s has %d lines without tests, want fewer than %d", room, lines, most)
		}
	}
}
