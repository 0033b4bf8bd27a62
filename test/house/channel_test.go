package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxChannelFiles is in how many files the methods of a channel may stand. It is what all of
// the hub meets in, and grows into many things unless something stops it.
const maxChannelFiles = 6

func TestChannelStandsInFewFiles(t *testing.T) {
	paths, err := filepath.Glob("../../gateway/hub/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	var with []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(f.Decls, ofChannel) {
			with = append(with, filepath.Base(path))
		}
	}
	if len(with) == 0 || len(with) > maxChannelFiles {
		t.Errorf("methods of hub.Channel stand in %d files, want 1 to %d: %v", len(with), maxChannelFiles, with)
	}
}

// ofChannel tells whether a declaration is a method of *Channel.
func ofChannel(d ast.Decl) bool {
	fn, ok := d.(*ast.FuncDecl)
	if !ok || fn.Recv == nil {
		return false
	}
	pointer, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	name, ok := pointer.X.(*ast.Ident)
	return ok && name.Name == "Channel"
}
