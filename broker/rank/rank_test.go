package rank

//lint:file-ignore SA2001 Locks are taken here for the order in which that happens.

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

func TestMain(m *testing.M) {
	begin()
	if os.Getenv("RANK_TEST") == "against" {
		against() // ends the process
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type outer struct{}
type inner struct{}
type beside struct{}

func (outer) class() class  { return class{1, "outer"} }
func (inner) class() class  { return class{2, "inner"} }
func (beside) class() class { return class{2, "beside"} }

var (
	outermost Mutex[outer]
	innermost RWMutex[inner]
)

// against takes two locks in the wrong order, which does no harm this time.
func against() {
	defer func() { _ = recover() }() // nobody can hide it
	innermost.RLock()
	defer innermost.RUnlock()
	outermost.Lock()
	defer outermost.Unlock()
}

// refusal is what the check has against something that is done in a goroutine of its own.
func refusal(do func()) (got string) {
	defer func(was func(string, *held)) { fail = was }(fail)
	fail = func(what string, has *held) { panic(report(what, has)) }
	var done sync.WaitGroup
	done.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				got = fmt.Sprint(r)
			}
			mine().hold.Store(nil)
		}()
		do()
	})
	done.Wait()
	return got
}

func TestTheCheckCatchesWhatIsAgainstTheRank(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func()
		want string // in the report; empty for nothing
	}{
		{"in the order of the ranks", func() {
			var a Mutex[outer]
			var b RWMutex[inner]
			a.Lock()
			b.Lock()
			b.Unlock()
			b.RLock()
			a.Unlock() // what is given up first does not matter
			b.RUnlock()
			b.Lock()
			b.Unlock()
		}, ""},
		{"against the ranks", func() {
			var a Mutex[outer]
			var b Mutex[inner]
			b.Lock()
			a.Lock()
		}, `"outer" (rank 1) is taken under "inner" (rank 2)`},
		{"against the ranks, for reading", func() {
			var a RWMutex[outer]
			var b RWMutex[inner]
			b.RLock()
			a.RLock()
		}, `"outer" (rank 1) is taken under "inner" (rank 2)`},
		{"against the rank of one that is not the last taken", func() {
			var a RWMutex[outer]
			var b RWMutex[inner]
			var first Mutex[outer]
			first.Lock()
			b.RLock()
			first.Unlock()
			a.RLock()
		}, `"outer" (rank 1) is taken under "inner" (rank 2)`},
		{"an equal rank of another kind", func() {
			var a Mutex[inner]
			var b Mutex[beside]
			a.Lock()
			b.Lock()
		}, `"beside" (rank 2) is taken under "inner" (rank 2)`},
		{"two locks of one kind", func() {
			var a, b Mutex[inner]
			a.Lock()
			b.Lock()
		}, `"inner" (rank 2) is taken under "inner" (rank 2)`},
		{"a lock twice", func() {
			var a Mutex[outer]
			a.Lock()
			a.Lock()
		}, `"outer" is taken by the goroutine that holds it`},
		{"reading twice, which a writer may come between", func() {
			var b RWMutex[inner]
			b.RLock()
			b.RLock()
		}, `"inner" is taken by the goroutine that holds it`},
		{"writing what is being read", func() {
			var b RWMutex[inner]
			b.RLock()
			b.Lock()
		}, `"inner" is taken by the goroutine that holds it`},
		{"reading what is being written", func() {
			var b RWMutex[inner]
			b.Lock()
			b.RLock()
		}, `"inner" is taken by the goroutine that holds it`},
		{"waiting for a condition", func() {
			var a Mutex[outer]
			c := sync.NewCond(&a)
			ready := false
			go func() {
				a.Lock()
				defer a.Unlock()
				ready = true
				c.Signal()
			}()
			a.Lock()
			for !ready {
				c.Wait()
			}
			a.Unlock()
			a.Lock()
			a.Unlock()
		}, ""},
		{"giving up what somebody else holds", func() {
			var a Mutex[outer]
			var took sync.WaitGroup
			took.Go(func() {
				a.Lock()
				mine().hold.Store(nil) // who has its identity next holds nothing
			})
			took.Wait()
			a.Unlock()
		}, `"outer" is given up by a goroutine that does not hold it`},
	} {
		got := refusal(c.do)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: the check says %q, want %q", c.name, got, c.want)
		}
	}
}

// TestAgainstTheRankEndsTheProcess: whatever recovers from panics, or waits for the others.
func TestAgainstTheRankEndsTheProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RANK_TEST=against")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the process goes on")
	}
	for _, want := range []string{`"outer" (rank 1) is taken under "inner" (rank 2)`, "here:\n", "\"inner\" was taken here:\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "rank.against\n"); n != 2 {
		t.Errorf("the report shows %d of the two places:\n%s", n, out)
	}
}

// TestGoroutinesAreToldApart: many of them, which come and go, and grow their stacks while
// they hold locks.
func TestGoroutinesAreToldApart(t *testing.T) {
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			var a Mutex[outer]
			var b RWMutex[inner]
			for range 20 {
				a.Lock()
				runtime.Gosched()
				deep(50, func() {
					b.RLock()
					runtime.Gosched()
					b.RUnlock()
				})
				a.Unlock()
			}
		})
	}
	all.Wait()
	for i := range holds {
		if h := holds[i].hold.Load(); h != nil {
			t.Fatalf("somebody still holds %q", h.locks[0].name)
		}
	}
}

func deep(n int, do func()) {
	var room [256]byte
	if n == 0 {
		do()
	} else {
		deep(n-1, do)
	}
	runtime.KeepAlive(&room)
}

func TestALockTakesNoMemoryForItsRank(t *testing.T) {
	if got, want := unsafe.Sizeof(Mutex[inner]{}), unsafe.Sizeof(sync.Mutex{}); got != want {
		t.Errorf("a mutex has %d bytes, want %d", got, want)
	}
	if got, want := unsafe.Sizeof(RWMutex[inner]{}), unsafe.Sizeof(sync.RWMutex{}); got != want {
		t.Errorf("a mutex for reading has %d bytes, want %d", got, want)
	}
}

// TestTheTableIsWhatTheDocumentSays: the same locks, in the same order.
func TestTheTableIsWhatTheDocumentSays(t *testing.T) {
	code, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Locks\n")
	table, _, _ = strings.Cut(table, "\n## ")
	row := func(m []string) string { return m[1] + " " + m[2] }
	var have, want []string
	last := 0
	for _, m := range regexp.MustCompile(`return class\{(\d+), "([^"]+)"\}`).FindAllStringSubmatch(string(code), -1) {
		have = append(have, row(m))
		if n, _ := strconv.Atoi(m[1]); n <= last {
			t.Errorf("%q does not rank above the row before it", m[2])
		} else {
			last = n
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]+?) \|`).FindAllStringSubmatch(table, -1) {
		want = append(want, row(m))
	}
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("the code has\n%s\n\nand docs/architecture.md\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if len(have) == 0 {
		t.Error("there is no table")
	}
}

func BenchmarkMutex(b *testing.B) {
	defer func(was bool) { checked = was }(checked)
	b.Run("plain", func(b *testing.B) {
		var m sync.Mutex
		for b.Loop() {
			m.Lock()
			m.Unlock()
		}
	})
	b.Run("ranked", func(b *testing.B) {
		checked = false
		var m Mutex[inner]
		for b.Loop() {
			m.Lock()
			m.Unlock()
		}
	})
	b.Run("checked", func(b *testing.B) {
		checked = true
		var m Mutex[inner]
		for b.Loop() {
			m.Lock()
			m.Unlock()
		}
	})
}
