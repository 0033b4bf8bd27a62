package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// smallTerminal returns a terminal of the given size, and a function that closes it and returns what it
// showed.
func smallTerminal(t *testing.T, columns, rows uint16) (tty *os.File, text func() string) {
	t.Helper()
	seen, tty := terminal(t)
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(seen)
		all <- string(text)
	}()
	return tty, func() string {
		_ = tty.Close()
		return <-all
	}
}

var sequences = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// TestABarFitsOnItsLine: before, a bar that wrapped was not cleared, and filled the terminal with ten lines a
// second.
func TestABarFitsOnItsLine(t *testing.T) {
	for _, columns := range []uint16{10, 40, 80} {
		tty, text := smallTerminal(t, columns, 24)
		b := newBar(shown(tty))
		for n := range 3 {
			b.drawn = time.Time{}
			b.update(time.Now(), float64(n)/2, "3000 events, größe-ß-"+strings.Repeat("x", 100))
		}
		b.clear()
		got := text()
		if n := strings.Count(got, "\r\x1b[K"); n != 4 {
			t.Errorf("%d columns: it was drawn and cleared %d times: %q", columns, n, got)
		}
		for line := range strings.SplitSeq(got, "\r\x1b[K") {
			if n := utf8.RuneCountInString(line); n >= int(columns) {
				t.Errorf("%d columns: %q has %d", columns, line, n)
			}
		}
	}
}

// TestAnExportOnATerminalIsLinesAlone: before, a progress bar stood before the first line of each page.
func TestAnExportOnATerminalIsLinesAlone(t *testing.T) {
	r := newRig(t)
	r.store("c", numbered(3)...)
	r.store("d", numbered(1000)...)
	tty, text := smallTerminal(t, 200, 24)
	status := run(t.Context(), newRoot(), []string{"export", "--prefix", "", "--url", r.url}, strings.NewReader(""), tty, tty)
	lines := strings.Split(strings.ReplaceAll(text(), "\r\n", "\n"), "\n")
	if status != exitOK || len(lines) != 1005 || !strings.HasSuffix(lines[1003], "1003 events of 2 channels") {
		t.Errorf("status %d, %d lines", status, len(lines))
	}
	for n, line := range lines[:min(len(lines), 1003)] {
		if _, err := parseRecord([]byte(line)); err != nil {
			t.Fatalf("line %d: %v: %q", n, err, line)
		}
	}
}

// TestTopFitsOnTheScreen: the output fits any size of the screen, since a line that wraps or scrolls would be
// drawn again below itself.
func TestTopFitsOnTheScreen(t *testing.T) {
	var long strings.Builder
	for range 50 {
		long.WriteString("waiting        " + strings.Repeat("größe ", 40) + "\n")
	}
	for _, c := range []struct{ columns, rows int }{{40, 12}, {80, 24}, {1, 1}, {0, 0}} {
		got := sequences.ReplaceAllString(fitted(long.String(), c.columns, c.rows), "")
		lines := strings.Split(got, "\n")
		if c.rows > 0 && len(lines) > max(c.rows, 2) || c.rows == 0 && len(lines) != 52 {
			t.Errorf("%v: %d lines", c, len(lines))
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); c.columns > 0 && n >= max(c.columns, 2) {
				t.Errorf("%v: a line of %d", c, n)
			}
		}
	}
}

// TestATerminalThatObeysNothingIsToldNothing: a terminal without control sequences would show them as text.
func TestATerminalThatObeysNothingIsToldNothing(t *testing.T) {
	r := newRig(t)
	r.store("c", numbered(3)...)
	for _, kind := range []string{"", "dumb"} {
		t.Setenv("TERM", kind)
		tty, text := smallTerminal(t, 80, 24)
		status := run(t.Context(), newRoot(), []string{"replay", "c", "--speed", "10", "--url", r.url}, strings.NewReader(""), tty, tty)
		if got := text(); status != exitOK || strings.Contains(got, "\x1b") || strings.Contains(got, "%") {
			t.Errorf("TERM=%q: status %d, %q", kind, status, got)
		}
	}
}

// TestABarIsForSeveralGoroutines: one goroutine reports problems while another one draws the progress. The
// race detector checks this.
func TestABarIsForSeveralGoroutines(t *testing.T) {
	b := &bar{out: io.Discard}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range 100 {
				b.update(time.Now(), 0.5, "half")
				b.clear()
			}
		})
	}
	all.Wait()
}
