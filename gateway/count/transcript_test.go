package count_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/test/transcript"
)

// TestTranscripts gives a machine a series of inputs and writes down its decisions and requests. The lines
// are described in [stage.do]. A publication is named by its offset, and a state of the count by its offset
// and the counts of its values. The value "-" is that of plain publications.
func TestTranscripts(t *testing.T) {
	transcript.Each(t, "testdata/*.txt", func(*testing.T) func(*testing.T, []string) string {
		s := &stage{now: start, log: map[uint64]count.Publication{}}
		return func(t *testing.T, input []string) string {
			var out strings.Builder
			for _, line := range input {
				s.do(t, strings.Fields(line), &out)
			}
			return out.String()
		}
	})
}

// stage is a machine with its log.
type stage struct {
	m        *count.Machine
	settings count.Settings
	now      time.Time
	log      map[uint64]count.Publication
	age      time.Duration
	// writing is the checkpoint being written, and replaces the revision that it replaces.
	writing  count.Snapshot
	replaces uint64
}

// do executes a line.
func (s *stage) do(t *testing.T, words []string, out *strings.Builder) {
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(words[i], 10, 64)
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return n
	}
	duration := func(i int) time.Duration {
		d, err := time.ParseDuration(words[i])
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return d
	}
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	before, e := count.Idle, count.Effect(0)
	if s.m != nil {
		before = s.m.State()
	}
	moment := count.Moment{Here: s.now, Log: s.now}
	switch words[0] {
	case "channel": // interval, values, retained publications
		s.settings = count.Settings{Interval: int(number(1)), MaxValues: int(number(2)), Retained: int(number(3))}
		s.m = count.NewMachine(s.settings)
	case "wait": // time passes without an event
		s.now = s.now.Add(duration(1))
	case "log": // from, to, value: publications that the feed does not deliver
		s.publish(number(1), number(2), number(1)-1, words[3])
	case "feed": // from, to, value, and the offset before the first unless it is the previous one
		prev := number(1) - 1
		if len(words) > 4 {
			prev = number(4)
		}
		var verdicts strings.Builder
		for _, p := range s.publish(number(1), number(2), prev, words[3]) {
			full, more := s.m.Publication(p, s.now)
			verdict := "dF"[b2i(full)]
			if p.Plain {
				verdict = 'p'
			}
			verdicts.WriteByte(verdict)
			e |= more
		}
		say("%s", shorten(verdicts.String()))
	case "aged": // the age of the checkpoint that is found next
		s.age = duration(1)
	case "tick":
		e = s.m.Tick(s.now)
	case "join":
		e = s.m.Join()
	case "leave":
		s.m.Leave()
	case "begin":
		e = s.m.Begin()
	case "lost": // up to an offset
		e = s.m.Lost(number(1))
	case "unanswered":
		s.m.Unanswered(s.now)
	case "found": // revision, state, and the offset to which the log continues after it
		a := count.Answer{Revision: number(1), State: s.state(t, words[2])}
		a.Saved, a.Age, s.age = a.State.Offset, s.age, 0
		for o := a.Saved; len(words) > 3 && o <= number(3); o++ {
			if p, ok := s.log[o]; ok {
				a.Past = append(a.Past, p)
			}
		}
		past, more := s.m.Found(a, moment)
		if e = more; len(past) > 0 {
			say("%d of the past", len(past))
		}
	case "heard": // revision, state
		e = s.m.Heard(s.state(t, words[2]), number(1), moment)
	case "write":
		var ok bool
		if s.writing, s.replaces, ok = s.m.Checkpoint(s.now); ok {
			say("%s in place of %d", s.name(s.writing), s.replaces)
		} else {
			say("nothing")
		}
	case "written": // revision
		s.m.Written(s.writing.Offset, number(1), s.now)
	case "blocked": // by a revision
		s.m.Blocked(s.replaces, number(1))
	case "vanished":
		s.m.Vanished()
	case "failed":
		s.m.WriteFailed(s.now)
	case "unsaved":
		s.m.Unsaved()
	default:
		t.Fatalf("nobody knows what %q is", words[0])
	}
	for i, effect := range []string{"look up", "look up soon", "save", "contradicted"} {
		if e&(1<<i) != 0 {
			say("%s", effect)
		}
	}
	if after := s.m.State(); after != before {
		say("-> %s", []string{"idle", "looking", "counting", "alone"}[after])
	}
}

// publish stores publications of one value, with consecutive offsets.
func (s *stage) publish(from, to, prev uint64, value string) (all []count.Publication) {
	for o := from; o <= to; o++ {
		p, ok := s.log[o]
		if !ok {
			p = count.Publication{Offset: o, Time: s.now, Value: value, Plain: value == "-"}
			s.log[o] = p
		}
		p.Prev, prev = prev, o
		all = append(all, p)
	}
	return all
}

// state parses a state as name writes it: 22{a:1,b:0}.
func (s *stage) state(t *testing.T, text string) count.Snapshot {
	place, counts, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
	c := count.Snapshot{N: s.settings.Interval, MaxKeys: s.settings.MaxValues}
	var err error
	if c.Offset, err = strconv.ParseUint(place, 10, 64); err != nil {
		t.Fatal(err)
	}
	c.Time = s.log[c.Offset].Time
	for _, pair := range strings.FieldsFunc(counts, func(r rune) bool { return r == ',' }) {
		value, digits, _ := strings.Cut(pair, ":")
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		c.Values, c.Counts = append(c.Values, value), append(c.Counts, uint32(n))
	}
	return c
}

func (s *stage) name(c count.Snapshot) string {
	var pairs []string
	for i, v := range c.Values {
		pairs = append(pairs, fmt.Sprintf("%s:%d", v, c.Counts[i]))
	}
	return fmt.Sprintf("%d{%s}", c.Offset, strings.Join(pairs, ","))
}

// shorten replaces long runs by a number.
func shorten(verdicts string) string {
	if len(verdicts) <= 60 {
		return verdicts
	}
	return fmt.Sprintf("%s... (%d, of which %d full)", verdicts[:20], len(verdicts), strings.Count(verdicts, "F"))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
