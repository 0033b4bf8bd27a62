package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTrust22NoTestDependsOnTheMachine reads all tests: none sleeps, and none demands that
// something takes less than a time, unless the time is that of a bubble of its own or the run is
// a long one, which has the machine for itself.
func TestTrust22NoTestDependsOnTheMachine(t *testing.T) {
	tests := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".cache" || name == ".git" || name == "node_modules" || strings.HasSuffix(path, "test/bench")) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		tests++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range hurries(t, path, text) {
			t.Error(found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if tests < 100 {
		t.Errorf("only %d files of tests were read", tests)
	}
}

// TestTrust22HurriesAreFound keeps the reading of tests honest.
func TestTrust22HurriesAreFound(t *testing.T) {
	const head = "package x\nimport (\"testing\"; \"time\")\nfunc TestX(t *testing.T) {\n\tbegan := time.Now()\n"
	for body, want := range map[string]int{
		"\ttime.Sleep(time.Second)\n}":                                                                      1,
		"\tif time.Since(began) > time.Second {\n\t}\n}":                                                    1,
		"\tif time.Second < time.Since(began) {\n\t}\n}":                                                    1,
		"\tif took := time.Since(began); took >= time.Second {\n\t}\n}":                                     1,
		"\ttook := time.Since(began)\n\tif false || took > time.Second {\n\t}\n}":                           1,
		"\ttook := time.Since(began)\n\tif took < time.Second {\n\t}\n}":                                    0,
		"\ttook := time.Since(began)\n\tif fault.Long() && took > time.Second {\n\t}\n}":                    0,
		"\tsynctest.Test(t, func(t *testing.T) {\n\t\tif time.Since(began) > time.Second {\n\t\t}\n\t})\n}": 0,
		"\tfor time.Since(began) < time.Second {\n\t}\n}":                                                   0,
	} {
		if got := hurries(t, "x_test.go", []byte(head+body)); len(got) != want {
			t.Errorf("%s: got %q, want %d", body, got, want)
		}
	}
}

// hurries are the places of a file of tests that depend on how fast the machine is.
func hurries(t *testing.T, path string, text []byte) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	note := func(n ast.Node, what string) { found = append(found, files.Position(n.Pos()).String()+": "+what) }
	long := func(x ast.Expr) bool { return strings.Contains(string(text[x.Pos()-1:x.End()-1]), "fault.Long()") }
	var look func(ast.Node) bool
	look = func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.CallExpr:
			if isCall(x, "synctest", "Test") {
				return false
			}
			if isCall(x, "time", "Sleep") {
				note(x, "a test sleeps; wait for a condition")
			}
		case *ast.FuncDecl:
			measured = map[string]bool{}
		case *ast.AssignStmt:
			for i, right := range x.Rhs {
				if name, ok := x.Lhs[i].(*ast.Ident); ok {
					measured[name.Name] = isCall(right, "time", "Since")
				}
			}
		case *ast.IfStmt:
			if x.Init != nil {
				ast.Inspect(x.Init, look)
			}
			ast.Inspect(x.Cond, func(n ast.Node) bool {
				if c, ok := n.(*ast.BinaryExpr); ok && !long(x.Cond) {
					above, below := c.Op == token.GTR || c.Op == token.GEQ, c.Op == token.LSS || c.Op == token.LEQ
					if above && takes(c.X, measured) || below && takes(c.Y, measured) {
						note(c, "a test demands that something is quick; bound it by work or by a condition")
					}
				}
				return true
			})
		}
		return true
	}
	ast.Inspect(f, look)
	return found
}

// takes says whether an expression is how long something took.
func takes(x ast.Expr, measured map[string]bool) bool {
	name, ok := x.(*ast.Ident)
	return ok && measured[name.Name] || isCall(x, "time", "Since")
}

func isCall(x ast.Expr, of, name string) bool {
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	owner, ok := selector.X.(*ast.Ident)
	return ok && owner.Name == of && selector.Sel.Name == name
}

// TestTrust22TheQuickFormIsThere: the whole gives what hangs time, and leaves out nothing but the
// packages that start other programs when it is to be quick.
func TestTrust22TheQuickFormIsThere(t *testing.T) {
	text, err := os.ReadFile("../../scripts/test")
	if err != nil {
		t.Fatal(err)
	}
	for what, pattern := range map[string]string{
		"a quick form":                 `\$\{1:-\}" = -quick`,
		"the packages that it leaves":  `grep -vE '/\(test/\(cluster\|e2e\|codec\|journeys\|deploy\)\|broker/redis\|cmd/sluice\|streams\)\$'`,
		"a limit only for what hangs":  `go test -race -timeout [3-9][0-9]m`,
		"nothing installed for it":     `\[ -n "\$quick" \] \|\| install_the_rest`,
		"format, vet and lint for all": `(?s)gofmt -l.*go vet \./\.\.\..*staticcheck`,
	} {
		if !regexp.MustCompile(pattern).Match(text) {
			t.Errorf("scripts/test lacks %s", what)
		}
	}
}
