package rank

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// checked is true if ranks are checked. It never changes while locks are in use.
var checked bool

// Check turns on the checking of ranks. TestMain calls it before any lock is taken. If benchmarks are
// requested it does nothing, so that they measure the product without checks.
func Check() {
	if !slices.ContainsFunc(os.Args[1:], func(arg string) bool {
		return arg == "-test.bench" || strings.HasPrefix(arg, "-test.bench=") && arg != "-test.bench="
	}) {
		begin()
	}
}

func begin() {
	holds = make([]place, places)
	checked = true
}

// class is the rank and name of a kind of lock. A goroutine takes locks in rising order of rank.
type class struct {
	rank int
	name string
}

// stackDepth is how many frames are recorded of where a lock was taken.
const stackDepth = 8

// held is a lock that a goroutine holds.
type held struct {
	lock any // its address
	class
	stack [stackDepth]uintptr
}

// The functions below run at every lock operation and only touch data of their own goroutine, so the race
// detector need not look at them.

// check fails if the goroutine may not take the lock.
//
//go:norace
func check(lock any, c class) {
	quiet()
	h := mine().hold.Load()
	heard()
	if h == nil {
		return
	}
	for i := range h.locks {
		switch has := &h.locks[i]; {
		case has.lock == lock:
			fail(fmt.Sprintf("the lock %q is taken by the goroutine that holds it", c.name), has)
		case has.rank >= c.rank:
			fail(fmt.Sprintf("the lock %q (rank %d) is taken under %q (rank %d)", c.name, c.rank, has.name, has.rank), has)
		}
	}
}

// took records that the goroutine has taken a lock.
//
//go:norace
func took(lock any, c class) {
	quiet()
	p := mine()
	h := p.hold.Load()
	if h == nil {
		h = &hold{}
		h.locks = h.first[:0]
		p.hold.Store(h)
	}
	heard()
	h.locks = append(h.locks, held{lock: lock, class: c})
	callers(&h.locks[len(h.locks)-1].stack)
}

// gave records that the goroutine releases a lock.
//
//go:norace
func gave(lock any, c class) {
	quiet()
	p := mine()
	h := p.hold.Load()
	heard()
	i := -1
	if h != nil {
		for i = len(h.locks) - 1; i >= 0 && h.locks[i].lock != lock; i-- {
		}
	}
	if i < 0 {
		fail(fmt.Sprintf("the lock %q is given up by a goroutine that does not hold it", c.name), nil)
		return
	}
	for ; i < len(h.locks)-1; i++ {
		h.locks[i] = h.locks[i+1]
	}
	h.locks[i].lock = nil
	if h.locks = h.locks[:i]; i == 0 {
		quiet()
		p.hold.Store(nil)
		heard()
	}
}

// fail ends the process. A panic would not be enough: another function might recover from it, or a goroutine
// might wait for this one for ever.
var fail = func(what string, has *held) {
	fmt.Fprintln(os.Stderr, report(what, has))
	os.Exit(2)
}

// report describes the violation and where both locks were taken.
func report(what string, has *held) string {
	var here [stackDepth]uintptr
	runtime.Callers(4, here[:])
	text := "lock rank: " + what + "\n\nhere:\n" + lines(here[:])
	if has != nil {
		text += fmt.Sprintf("\n%q was taken here:\n", has.name) + lines(has.stack[:])
	}
	return text
}

func lines(stack []uintptr) string {
	var b strings.Builder
	for frames := runtime.CallersFrames(stack); ; {
		f, more := frames.Next()
		if f.Function != "" {
			fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
		}
		if !more {
			return b.String()
		}
	}
}
