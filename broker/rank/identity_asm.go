//go:build amd64 || arm64

package rank

// identity tells goroutines apart that live at the same time. The id that the runtime prints
// costs thousands of nanoseconds to get at, this costs one.
func identity() uintptr

// callers notes who called the caller, and who called that, up to the outermost: less than stackDepth of them leave
// zeros. It follows the frame pointers, which takes a twentieth of the time of [runtime.Callers]; tests would spend
// much of theirs on that. What the compiler has inlined into another function goes by the place in it alone.
//
//go:noescape
func callers(stack *[stackDepth]uintptr)
