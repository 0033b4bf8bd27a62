package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// bar shows on a terminal how far something is, on the last line of it. Elsewhere it shows
// nothing. Whoever prints anything else has it cleared before. Several goroutines may use it.
type bar struct {
	out   io.Writer // nil shows nothing
	mu    sync.Mutex
	drawn time.Time
	shown bool
}

const (
	barWidth = 30
	// barPause is between two drawings.
	barPause = 100 * time.Millisecond
)

// newBar returns a bar for an output, which shows nothing unless that is a terminal.
func newBar(w io.Writer) *bar {
	if s, ok := terminalOf(w); ok && obeys() {
		return &bar{out: s.Writer}
	}
	return &bar{}
}

// update draws the bar anew, unless it was drawn a moment ago. The text has no characters that
// a terminal obeys.
func (b *bar) update(now time.Time, part float64, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out == nil || b.shown && now.Sub(b.drawn) < barPause {
		return
	}
	b.drawn, b.shown = now, true
	full := int(min(max(part, 0), 1) * barWidth)
	columns, _ := extentOf(b.out)
	// What wraps cannot be taken away again.
	line := cut(fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*min(max(part, 0), 1), text), columns)
	fmt.Fprint(b.out, "\r\x1b[K", line)
}

// cut is a line as far as it fits into so many columns, of which the last one stays free. 0 columns are any number.
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

// clear takes the bar away.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}
