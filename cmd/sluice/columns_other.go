//go:build !unix

package main

import (
	"io"
	"os"
)

// isTerminal says whether somebody may sit at an input or output.
func isTerminal(of any) bool {
	f, ok := of.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// extentOf is how wide and high a terminal is, 0 where that is not known.
func extentOf(io.Writer) (columns, rows int) { return 0, 0 }

// obeys says whether a terminal knows the sequences by which something is drawn in its place again.
func obeys() bool { return os.Getenv("TERM") != "dumb" }
