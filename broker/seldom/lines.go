package seldom

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// usually is the default pause between two lines of one cause.
	usually = time.Minute
	// maxCauses bounds the number of causes that are tracked. Further causes share one pause.
	maxCauses = 1024
)

// Lines writes a log line for a cause at most once per pause. The line has the field `times`, the number of
// events since the previous line, including this one. Events after the last line are not reported until
// another event of the cause occurs after the pause, so use a metric for exact numbers. The zero value is
// ready to use. Safe for concurrent use.
type Lines struct {
	// Pause is the time between two lines of one cause, default a minute.
	Pause time.Duration

	mu     rank.Mutex[rank.Lines]
	causes map[string]*cause
}

type cause struct {
	told  time.Time
	times int
}

// Warn writes or counts a warning. of is the cause; the line describes the latest event of the cause.
func (s *Lines) Warn(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelWarn, of, message, args)
}

// Info is like [Lines.Warn] at level Info.
func (s *Lines) Info(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelInfo, of, message, args)
}

// Error is like [Lines.Warn] at level Error.
func (s *Lines) Error(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelError, of, message, args)
}

func (s *Lines) log(l *slog.Logger, level slog.Level, of, message string, args []any) {
	if times := s.due(of, time.Now()); times > 0 {
		l.Log(context.Background(), level, message, append(args[:len(args):len(args)], "times", times)...)
	}
}

// due counts an event. It returns the number of events to report if a line is due, else 0.
func (s *Lines) due(of string, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.causes[of]
	if c == nil {
		c = s.add(of, now)
	}
	c.times++
	pause := s.Pause
	if pause == 0 {
		pause = usually
	}
	if !c.told.IsZero() && now.Sub(c.told) < pause {
		return 0
	}
	times := c.times
	c.told, c.times = now, 0
	return times
}

// add adds a cause. If the table is full, it forgets causes without uncounted events whose pause is over; if
// that is not enough, the new cause shares one entry with others.
func (s *Lines) add(of string, now time.Time) *cause {
	if s.causes == nil {
		s.causes = map[string]*cause{}
	}
	if len(s.causes) >= maxCauses {
		for name, c := range s.causes {
			if c.times == 0 && now.Sub(c.told) >= max(s.Pause, usually) {
				delete(s.causes, name)
			}
		}
	}
	if len(s.causes) >= maxCauses {
		of = ""
	}
	if s.causes[of] == nil {
		s.causes[of] = &cause{}
	}
	return s.causes[of]
}
