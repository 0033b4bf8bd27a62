package follow

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/transcript"
)

// transcripts runs the transcripts whose files match a pattern; do is called for each line of an input.
func transcripts(t *testing.T, pattern string, run func(t *testing.T, do func(func(command []string) []string))) {
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			run(t, func(do func(command []string) []string) {
				transcript.Run(t, path, func(_ *testing.T, input []string) string {
					var out []string
					for _, line := range input {
						out = append(out, do(strings.Fields(line))...)
					}
					return strings.Join(out, "\n")
				})
			})
		})
	}
}

// TestRepairTranscripts: the steps of a repair are decided without a log.
func TestRepairTranscripts(t *testing.T) {
	founds := map[string]Found{"failed": Failed, "nothing": Nothing, "awaited": Awaited, "progress": Progress, "turned": Turned, "doubtful": Doubtful, "complete": Complete}
	dos := map[Do]string{Read: "read", Inquire: "inquire", Ask: "ask", GiveUp: "give up", End: "end"}
	transcripts(t, "repair-*.txt", func(t *testing.T, do func(func([]string) []string)) {
		now := time.Unix(1000, 0)
		connected := true
		var r Repair
		do(func(c []string) []string {
			switch c[0] {
			case "begin":
				timeout, err := time.ParseDuration(c[2])
				if err != nil {
					t.Fatal(err)
				}
				r = NewRepair(map[string]Do{"read": Read, "inquire": Inquire}[c[1]], timeout, now)
				return nil
			case "cut":
				connected = false
				return nil
			case "connected":
				connected = true
				return nil
			case "pass":
				d, err := time.ParseDuration(c[1])
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(d)
				return nil
			}
			found, known := founds[c[0]]
			if !known {
				t.Fatalf("unknown command %q", c)
			}
			step := r.Next(found, now, connected)
			now = now.Add(step.After)
			if step.After > 0 {
				return []string{fmt.Sprintf("%s after %v", dos[step.Do], step.After)}
			}
			return []string{dos[step.Do]}
		})
	})
}

// TestFollowingTranscripts: what sinks get for events in any order.
func TestFollowingTranscripts(t *testing.T) {
	transcripts(t, "follow-*.txt", func(t *testing.T, do func(func([]string) []string)) {
		synctest.Test(t, func(t *testing.T) {
			s := &scene{t: t, toy: newToy(1), sinks: map[string]*recorder{}, attached: map[string]broker.Attachment{}, outcome: make(chan string, 100)}
			do(s.run)
			for _, r := range s.sinks {
				if r.hold != nil {
					close(r.hold)
				}
			}
			s.toy.close()
		})
	})
}

// scene is a toy log with sinks, driven by commands.
type scene struct {
	t        *testing.T
	toy      *toy
	sinks    map[string]*recorder
	attached map[string]broker.Attachment
	outcome  chan string
}

func (s *scene) number(text string) (n uint64) {
	if _, err := fmt.Sscan(text, &n); err != nil {
		s.t.Fatalf("%q: %v", text, err)
	}
	return n
}

func (s *scene) line() *toyLine {
	return s.toy.feed.Of("app")[0].Line().(*toyLine)
}

func (s *scene) run(c []string) []string {
	y := s.toy
	switch c[0] {
	case "store":
		y.mu.Lock()
		for _, n := range c[1:] {
			y.stored = append(y.stored, s.number(n))
		}
		y.mu.Unlock()
	case "remove":
		y.mu.Lock()
		y.stored = slices.DeleteFunc(y.stored, func(n uint64) bool { return slices.Contains(c[1:], fmt.Sprint(n)) })
		y.mu.Unlock()
	case "attach":
		s.attach(c[1], c[2:])
	case "begin":
		y.begins <- map[bool]error{true: errAway}[len(c) > 1]
	case "detach":
		s.attached[c[1]].Detach()
	case "live":
		go s.line().receive(message{s.number(c[1]), s.number(c[2])})
	case "page":
		y.answers <- page(int(s.number(c[1])))
	case "fail":
		y.answers <- func(*toyLine) (func() Found, error) { return nil, errAway }
	case "found":
		found := map[string]Found{"nothing": Nothing, "turned": Turned, "doubtful": Doubtful}[c[1]]
		y.answers <- func(*toyLine) (func() Found, error) { return func() Found { return found }, nil }
	case "doubt":
		l := s.line()
		l.Lock()
		l.Repair(Inquire)
		l.Unlock()
	case "epoch":
		s.epoch(c[1], s.number(c[2]))
	case "block":
		s.sinks[c[1]].mu.Lock()
		s.sinks[c[1]].hold = make(chan struct{})
		s.sinks[c[1]].mu.Unlock()
	case "free":
		r := s.sinks[c[1]]
		r.mu.Lock()
		close(r.hold)
		r.hold = nil
		r.mu.Unlock()
	case "pass":
		d, err := time.ParseDuration(c[1])
		if err != nil {
			s.t.Fatal(err)
		}
		<-time.After(d)
	case "stats":
		st := y.feed.Stats(0)
		return []string{fmt.Sprintf("%d repairs, gaps: %d evicted, %d epoch, %d unavailable; %d channels", st.Repairs,
			st.GapsEvicted, st.GapsEpoch, st.GapsUnavailable, y.feed.Attached())}
	default:
		s.t.Fatalf("unknown command %q", c)
	}
	synctest.Wait()
	return s.happened()
}

// attach attaches a sink, with a time-out if one is given.
func (s *scene) attach(name string, patience []string) {
	s.sinks[name] = &recorder{name: name}
	ctx, cancel := s.t.Context(), context.CancelFunc(func() {})
	if len(patience) > 0 {
		d, err := time.ParseDuration(patience[0])
		if err != nil {
			s.t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	go func() {
		defer cancel()
		at, err := s.toy.feed.Attach(ctx, "app", "c", "key", s.sinks[name])
		if err != nil {
			s.outcome <- fmt.Sprintf("%s is refused: %v", name, err)
			return
		}
		s.attached[name] = at
		s.outcome <- fmt.Sprintf("%s is attached at %d of %s, empty %t", name, at.Position().Offset, at.Position().Epoch, at.(broker.Emptiness).Empty())
	}()
}

func (s *scene) epoch(epoch string, offset uint64) {
	l := s.line()
	l.Lock()
	defer l.LeaveToOthers()
	l.Gap(broker.Position{Epoch: epoch, Offset: offset}, broker.GapEpoch)
	if l.Following() {
		l.Repair(Read)
	}
}

// happened returns what has happened since its last call.
func (s *scene) happened() []string {
	var out []string
	for len(s.outcome) > 0 {
		out = append(out, <-s.outcome)
	}
	s.toy.mu.Lock()
	asked := s.toy.asked
	s.toy.asked = nil
	s.toy.mu.Unlock()
	slices.Sort(out)
	out = append(out, asked...)
	for _, name := range []string{"a", "b"} {
		if r := s.sinks[name]; r != nil {
			out = append(out, r.take()...)
		}
	}
	return out
}
