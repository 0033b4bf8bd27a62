package seldom

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// usually is the pause between two lines of one cause.
	usually = time.Minute
	// maxCauses bounds the causes that are told apart. Further ones share one pause.
	maxCauses = 1024
)

// Lines writes a line for a cause at most once in a while. It has `times`, the number of
// events since the line before, this one included; what is counted after the last line is
// not told until something happens again, so whoever wants exact numbers has a metric as
// well. The zero value is ready. Safe for concurrent use.
type Lines struct {
	// Pause lies between two lines of one cause, default a minute.
	Pause time.Duration

	mu     rank.Mutex[rank.Lines]
	causes map[string]*cause
}

type cause struct {
	told  time.Time
	times int
}

// Warn writes or counts a warning. Events of one cause are told by one line, with what is
// known of the last of them.
func (s *Lines) Warn(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelWarn, of, message, args)
}

// Info writes or counts what is worth knowing.
func (s *Lines) Info(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelInfo, of, message, args)
}

// Error writes or counts an error.
func (s *Lines) Error(l *slog.Logger, of, message string, args ...any) {
	s.log(l, slog.LevelError, of, message, args)
}

func (s *Lines) log(l *slog.Logger, level slog.Level, of, message string, args []any) {
	if times := s.due(of, time.Now()); times > 0 {
		l.Log(context.Background(), level, message, append(args[:len(args):len(args)], "times", times)...)
	}
}

// due counts an event, and returns how many there were if it is time to tell, or 0.
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

// add makes room for a cause by forgetting those that have nothing left to tell. If there
// is none, it shares a cause with others.
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
