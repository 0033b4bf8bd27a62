package main

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
)

const (
	// Bounds of the lines that wait to be written.
	maxLogLines, maxLogBytes = 8192, 4 << 20
	// logPatience is how long the end of the process waits for them to be written.
	logPatience = time.Second
)

// logQueue writes log lines in its own goroutine, so that logging never waits: a reader of the log that stops
// reading would otherwise stop the server. It is safe for concurrent use.
type logQueue struct {
	to io.Writer
	// tell writes a line about lost lines directly.
	tell func(lost int)

	mu    sync.Mutex
	lines [][]byte
	bytes int
	// lost is the number of lines lost since that was last reported, and all that of lines lost since the start.
	lost, all int
	closed    bool

	wake, done chan struct{}
	// level is the minimum level that is logged.
	level slog.LevelVar
}

// newLog returns the log of a server, and its queue, which the caller must close.
func newLog(to io.Writer, c *configs.Config) (*slog.Logger, *logQueue) {
	var level slog.Leveler = slog.LevelInfo
	logger := func(w io.Writer) *slog.Logger {
		opt := &slog.HandlerOptions{Level: level}
		if c.LogJSON {
			return slog.New(slog.NewJSONHandler(w, opt))
		}
		return slog.New(slog.NewTextHandler(w, opt))
	}
	direct := logger(to)
	q := newLogQueue(to, func(lost int) {
		direct.Warn("lines of this log were lost, because they were not read", "lines", lost)
	})
	level = &q.level
	q.setLevel(c.LogLevel)
	return logger(q), q
}

// setLevel changes the minimum level that is logged.
func (q *logQueue) setLevel(name string) {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) == nil {
		q.level.Set(level)
	}
}

func newLogQueue(to io.Writer, tell func(int)) *logQueue {
	q := &logQueue{to: to, tell: tell, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write queues a line, or counts it as lost. It never waits and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.lines) >= maxLogLines || q.bytes+len(line) > maxLogBytes {
		q.lost++
		q.all++
		return len(line), nil
	}
	q.lines = append(q.lines, append([]byte(nil), line...))
	q.bytes += len(line)
	q.signal()
	return len(line), nil
}

func (q *logQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	for range q.wake {
		for q.flush() {
		}
		q.mu.Lock()
		over := q.closed && len(q.lines) == 0
		q.mu.Unlock()
		if over {
			return
		}
	}
}

// flush writes the oldest line. Lost lines are newer than queued ones, so they are reported when the queue is
// empty.
func (q *logQueue) flush() bool {
	q.mu.Lock()
	if len(q.lines) == 0 {
		lost := q.lost
		q.lost, q.lines = 0, nil
		q.mu.Unlock()
		if lost > 0 {
			q.tell(lost)
		}
		return lost > 0
	}
	line := q.lines[0]
	q.mu.Unlock()
	_, err := q.to.Write(line)
	q.mu.Lock()
	q.lines[0] = nil
	q.lines, q.bytes = q.lines[1:], q.bytes-len(line)
	if err != nil {
		q.all++
	}
	q.mu.Unlock()
	return true
}

// close waits until all lines are written, at most logPatience. Later lines are lost.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.signal()
	q.mu.Unlock()
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
}

// register registers a metric of lost lines.
func (q *logQueue) register(registry *prometheus.Registry, prefix string) {
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: prefix + "stderr_lines_lost_total", Help: "Lines of the log of the process that nobody took.",
	}, func() float64 {
		q.mu.Lock()
		defer q.mu.Unlock()
		return float64(q.all)
	}))
}
