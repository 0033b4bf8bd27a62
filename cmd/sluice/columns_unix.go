//go:build unix

package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal says whether somebody may sit at an input or output. The null device is one
// that nobody sits at.
func isTerminal(of any) bool {
	f, ok := of.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// extentOf is how wide and high a terminal is, 0 for anything else.
func extentOf(w io.Writer) (columns, rows int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// obeys says whether a terminal knows the sequences by which something is drawn in its place again.
func obeys() bool {
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb"
}
