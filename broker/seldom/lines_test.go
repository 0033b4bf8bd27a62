package seldom

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWeeks21LinesCountInsteadOfRepeating(t *testing.T) {
	s := Lines{Pause: time.Minute}
	at := time.Unix(1000, 0)
	for i, c := range []struct {
		of    string
		after time.Duration
		want  int
	}{
		{"a", 0, 1}, {"a", time.Second, 0}, {"a", time.Second, 0}, {"b", 0, 1}, {"a", 57 * time.Second, 0},
		{"a", time.Second, 4}, {"b", 2 * time.Second, 1}, {"a", time.Second, 0}, {"a", time.Hour, 2},
	} {
		at = at.Add(c.after)
		if got := s.due(c.of, at); got != c.want {
			t.Errorf("%d: got %d, want %d", i, got, c.want)
		}
	}
}

// Strangers can bring about as many causes as they like.
func TestWeeks21CausesAreBounded(t *testing.T) {
	var s Lines
	at, told := time.Unix(1000, 0), 0
	for i := range 10 * maxCauses {
		told += s.due(fmt.Sprint(i), at)
	}
	if len(s.causes) > maxCauses+1 || told != maxCauses+1 {
		t.Errorf("%d causes are kept, and %d were told", len(s.causes), told)
	}
	if got := s.due("new", at.Add(time.Hour)); got == 0 || len(s.causes) > 2 {
		t.Errorf("a new cause later is told %d times, %d are kept", got, len(s.causes))
	}
}

func TestWeeks21NothingIsCountedTwice(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	s := Lines{Pause: time.Hour}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { s.Warn(log, "x", "refused", "reason", "x") })
	}
	all.Wait()
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN msg=refused reason=x times=1") {
		t.Errorf("got %s", text)
	}
	if got := s.due("x", time.Now().Add(2*time.Hour)); got != 50 {
		t.Errorf("the next line counts %d", got)
	}
}
