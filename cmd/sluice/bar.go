package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// bar shows a progress bar on the last line of a terminal. On other outputs it shows nothing. Clear it before
// anything else is printed. It is safe for concurrent use.
type bar struct {
	out   io.Writer // nil shows nothing
	mu    sync.Mutex
	drawn time.Time
	shown bool
}

const (
	barWidth = 30
	// barPause is the minimum time between two updates.
	barPause = 100 * time.Millisecond
)

// newBar returns a bar for an output, which shows nothing unless that is a terminal.
func newBar(w io.Writer) *bar {
	if s, ok := terminalOf(w); ok && obeys() {
		return &bar{out: s.Writer}
	}
	return &bar{}
}

// update draws the bar, unless it was drawn a moment ago. The text must not contain control characters.
func (b *bar) update(now time.Time, part float64, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out == nil || b.shown && now.Sub(b.drawn) < barPause {
		return
	}
	b.drawn, b.shown = now, true
	full := int(min(max(part, 0), 1) * barWidth)
	columns, _ := extentOf(b.out)
	// A line that wraps could not be cleared.
	line := cut(fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*min(max(part, 0), 1), text), columns)
	fmt.Fprint(b.out, "\r\x1b[K", line)
}

// cut shortens a line to a number of columns, of which the last one stays free. 0 columns means no limit.
func cut(line string, columns int) string {
	if columns == 0 {
		return line
	}
	n := 0
	for i := range line {
		if n++; n == max(columns, 2) {
			return line[:i]
		}
	}
	return line
}

// clear removes the bar.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}
