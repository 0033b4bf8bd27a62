package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/configs"
)

// gate is a reader of the log that can be blocked.
type gate struct {
	mu   sync.Mutex
	text strings.Builder
	err  error
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.text.Write(b)
}

// TestWeeks20NobodyWaitsForTheReaderOfTheLog logs more than fits while the log is not read.
func TestWeeks20NobodyWaitsForTheReaderOfTheLog(t *testing.T) {
	for name, size := range map[string]int{"lines": 10, "bytes": 10_000} {
		t.Run(name, func(t *testing.T) {
			g := &gate{}
			log, q := newLog(g, &configs.Config{})
			g.mu.Lock()
			const all = 2 * maxLogLines
			for i := range all {
				log.Info("line", "n", i, "text", strings.Repeat("x", size))
			}
			q.mu.Lock()
			if len(q.lines) > maxLogLines || q.bytes > maxLogBytes || q.lost == 0 {
				t.Errorf("%d lines and %d bytes wait, %d were lost", len(q.lines), q.bytes, q.lost)
			}
			lost := q.lost
			q.mu.Unlock()
			g.mu.Unlock()
			q.close()
			text := g.text.String()
			if n := strings.Count(text, "msg=line"); n != all-lost {
				t.Errorf("%d lines were written, want %d", n, all-lost)
			}
			if !strings.HasSuffix(text, fmt.Sprintf("level=WARN msg=\"lines of this log were lost, because they were not read\" lines=%d\n", lost)) {
				t.Errorf("the log ends with %s", text[max(0, len(text)-200):])
			}
			for i := range 3 {
				if !strings.Contains(text, fmt.Sprintf(" n=%d ", i)) {
					t.Errorf("line %d is missing", i)
				}
			}
		})
	}
}

func TestWeeks20LinesThatCannotBeWrittenAreCounted(t *testing.T) {
	g := &gate{err: errors.New("broken pipe")}
	log, q := newLog(g, &configs.Config{LogJSON: true})
	for range 10 {
		log.Warn("line")
	}
	q.close()
	log.Warn("after the end")
	if q.all != 11 {
		t.Errorf("%d lines are counted, want 11", q.all)
	}
}
