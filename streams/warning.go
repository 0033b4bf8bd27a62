package streams

import (
	"log/slog"
	"sync"
	"time"
)

// warning is a line of the log that may be due very often. It is written at once, then at
// most once in each pause with the number of times.
type warning struct {
	log   *slog.Logger
	text  string
	pause time.Duration

	mu   sync.Mutex
	told time.Time
	n    int
}

func (w *warning) say(args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if now := time.Now(); now.Sub(w.told) >= w.pause {
		w.log.Warn(w.text, append(args, "times", w.n)...)
		w.told, w.n = now, 0
	}
}
