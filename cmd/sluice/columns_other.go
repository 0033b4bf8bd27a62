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

// columnsOf is how wide a terminal is, 0 where that is not known.
func columnsOf(io.Writer) int { return 0 }
