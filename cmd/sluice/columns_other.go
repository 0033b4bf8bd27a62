//go:build !unix

package main

import "io"

// columnsOf is how wide a terminal is, 0 where that is not known.
func columnsOf(io.Writer) int { return 0 }
