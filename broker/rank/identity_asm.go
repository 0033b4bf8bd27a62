//go:build amd64 || arm64

package rank

// identity returns a value that differs between goroutines that live at the same time. Getting the id that
// the runtime prints takes thousands of nanoseconds, this takes one.
func identity() uintptr

// callers records the return addresses of the calling functions, from the caller's caller outwards; unused
// elements stay zero. It follows frame pointers, which takes a twentieth of the time of [runtime.Callers];
// tests would spend much of their time there. A function that the compiler has inlined has no address of its
// own; its position within the outer function stands for it.
//
//go:noescape
func callers(stack *[stackDepth]uintptr)
