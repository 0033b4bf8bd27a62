//go:build !amd64 && !arm64

package rank

import (
	"bytes"
	"runtime"
	"strconv"
)

// identity is the id that the runtime prints.
func identity() uintptr {
	var buf [40]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	n, _ := strconv.ParseUint(string(digits), 10, 64)
	return uintptr(n)
}

// callers is what [runtime.Callers] says.
func callers(stack *[stackDepth]uintptr) { runtime.Callers(4, stack[:]) }
