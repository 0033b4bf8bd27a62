package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestRun04MarkersAreFoundInAnyFrame(t *testing.T) {
	m := marker{"sb-run:"}
	rapid.Check(t, func(t *rapid.T) {
		channel, due := rapid.IntRange(0, 1_000_000).Draw(t, "channel"), time.Duration(rapid.Int64Range(0, 1<<55).Draw(t, "due"))
		size := rapid.IntRange(0, 400).Draw(t, "size")
		data := m.data(channel, due, size)
		if len(data) < size || size > 64 && len(data) != size {
			t.Fatalf("%d bytes, want %d", len(data), size)
		}
		for _, frame := range []string{
			fmt.Sprintf(`{"event":"bench","channel":"c","data":%q}`, data), fmt.Sprintf(`{ "data" : %q, "event": "bench"}`, data),
		} {
			c, d, ok := m.find([]byte(frame))
			if !ok || c != channel || d != due {
				t.Fatalf("%d, %d, %v in %s", c, d, ok, frame)
			}
		}
	})
	for _, frame := range []string{"", "{}", `{"data":"sb-other:1:2:"}`, `{"data":"sb-run:`, `"sb-run:1`, `"sb-run:1:2`, `"sb-run::2`} {
		if c, d, ok := m.find([]byte(frame)); ok && frame != `"sb-run::2` {
			t.Errorf("%q is read as %d, %d", frame, c, d)
		}
	}
}

// TestRun04WhoseFaultItIs distinguishes the lateness of the generator from that of the server, with a clock
// that the test sets.
func TestRun04WhoseFaultItIs(t *testing.T) {
	now := time.Duration(0)
	late := newRecorder("", 1)
	d := &dispatcher{pace: pace{10}, places: make(chan struct{}, 100), late: late, now: func() time.Duration { now += time.Millisecond; return now }}
	var dues []time.Duration
	// It is 700 ms late when it begins, so that it never waits.
	now = 700 * time.Millisecond
	held := d.run(context.Background(), 0, 500*time.Millisecond, func(_ int, due time.Duration) { dues = append(dues, due); <-d.places })
	if want := "[0s 100ms 200ms 300ms 400ms]"; fmt.Sprint(dues) != want || held != 0 {
		t.Errorf("%v, held up for %v, want %s", dues, held, want)
	}
	if got := late.distribution(); got.Count != 5 || got.Min < 300 {
		t.Errorf("it is late itself: %+v", got)
	}
}

// TestRun04TheServerIsWaitedFor has all places taken for half a second: only the first message counts as
// late, and the rest is the server's delay.
func TestRun04TheServerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		d := &dispatcher{pace: pace{10}, places: make(chan struct{}, 1), late: newRecorder("", 1), now: func() time.Duration { return time.Since(begin) }}
		d.places <- struct{}{}
		time.AfterFunc(500*time.Millisecond, func() { <-d.places })
		held := d.run(t.Context(), 0, 500*time.Millisecond, func(int, time.Duration) { <-d.places })
		if got := d.late.distribution(); held != 500*time.Millisecond || got.Count != 1 || got.Max > 1 {
			t.Errorf("held up for %v, and %+v", held, got)
		}
	})
}

func TestRun04TheVerdictNamesTheBottleneck(t *testing.T) {
	for _, c := range []struct {
		name, want string
		g          Generator
		measured   float64
		bottleneck bool
	}{
		{"all is well", "", Generator{LateP99: .5, Usage: Usage{Cores: 1, WaitP99: .2}}, 2, false},
		{"late, but little of what was measured", "", Generator{LateP99: 5}, 100, false},
		{"late", "was begun 20.0 ms late", Generator{LateP99: 20}, 100, true},
		{"read late", "waited up to 30.0 ms", Generator{Usage: Usage{WaitP99: 30}}, 100, true},
		{"all processors", "it used 3.9 of 4", Generator{Usage: Usage{Cores: 3.9}}, 100, true},
		{"nothing measured", "was begun 2.0 ms late", Generator{LateP99: 2}, 0, true},
		{"a busy machine", "busy for 99 %", Generator{Usage: Usage{Machine: .99}}, 100, false},
		{"a server that is waited for", "the server was waited for: for 2.5 s", Generator{Held: 2.5}, 100, false},
	} {
		notes := strings.Join(judge(&c.g, 4, true, c.measured), " ")
		if c.g.Bottleneck != c.bottleneck || !strings.Contains(notes, c.want) || c.want == "" && notes != "" || c.bottleneck != strings.Contains(notes, "the generator was the bottleneck") {
			t.Errorf("%s: %v, %q", c.name, c.g.Bottleneck, notes)
		}
	}
}

func TestRun04QuantilesOfBuckets(t *testing.T) {
	buckets := []float64{0, 1, 2, math.Inf(1)}
	for _, c := range []struct {
		counts []uint64
		want   float64
	}{{[]uint64{0, 0, 0}, 0}, {[]uint64{99, 1, 0}, 1}, {[]uint64{98, 2, 0}, 2}, {[]uint64{0, 0, 1}, 2}} {
		if got := upperBound(c.counts, buckets, .99); got != c.want {
			t.Errorf("%v: %v, want %v", c.counts, got, c.want)
		}
	}
}

func TestRun04NumbersAreReadable(t *testing.T) {
	for _, c := range []struct {
		want string
		v    float64
		unit string
	}{{"0", 0, ""}, {"1,234,567", 1234567, ""}, {"-1,000", -1000, ""}, {"999", 999, ""}, {"12.3 ms", 12.34, "ms"}, {"0.012 ms", .0123, "ms"}, {"12,346 MB/s", 12345.6, "MB/s"}} {
		if got := shown(c.v, c.unit); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		want, better string
		now, before  float64
	}{{"=", "", 0, 0}, {"", "less", 1, 0}, {"+100.0 % !", "less", 2, 1}, {"+100.0 % +", "more", 2, 1}, {"-50.0 % !", "more", 1, 2}, {"+1.0 %", "less", 101, 100}, {"+100.0 %", "", 2, 1}} {
		if got := change(row{value: c.now, better: c.better}, row{value: c.before}); got != c.want {
			t.Errorf("%v after %v: %q, want %q", c.now, c.before, got, c.want)
		}
	}
}

// TestRun04SlowOnesReadSlowly: after the handshake a trickle reads slowly, and closing it ends a read at
// once.
func TestRun04SlowOnesReadSlowly(t *testing.T) {
	here, there := net.Pipe()
	slow := newTrickle(here, 1000)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = there.Write(make([]byte, handshakeBytes+100))
	}()
	if _, err := io.ReadFull(slow, make([]byte, handshakeBytes)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := io.ReadFull(slow, make([]byte, 100)); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("100 bytes in %v, %v", time.Since(began), err)
	}
	<-sent
	lazy := newTrickle(here, 1)
	lazy.free = 0
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = there.Write(make([]byte, 100))
		_ = lazy.Close()
	}()
	if _, err := lazy.Read(make([]byte, 100)); err == nil {
		t.Error("a reading goes on after the end")
	}
	<-written
	_ = there.Close()
}
