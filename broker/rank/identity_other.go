//go:build !amd64 && !arm64

package rank

import (
	"bytes"
	"runtime"
	"strconv"
)

// identity returns the goroutine id that the runtime prints.
func identity() uintptr {
	var buf [40]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	n, _ := strconv.ParseUint(string(digits), 10, 64)
	return uintptr(n)
}

// callers records the stack with [runtime.Callers].
func callers(stack *[stackDepth]uintptr) { runtime.Callers(4, stack[:]) }
