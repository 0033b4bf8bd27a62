//go:build !unix

package main

import (
	"io"
	"os"
)

// isTerminal reports whether an input or output is interactive.
func isTerminal(of any) bool {
	f, ok := of.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// extentOf returns the width and height of a terminal, 0 if they are unknown.
func extentOf(io.Writer) (columns, rows int) { return 0, 0 }

// obeys reports whether a terminal understands control sequences.
func obeys() bool { return os.Getenv("TERM") != "dumb" }
