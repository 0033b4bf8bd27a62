package workload_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluicehq/sluice/test/workload"
)

func TestStreamsHaveTheirSizes(t *testing.T) {
	want := map[string]int{
		"quote": 107, "iot": 340, "ticker": 419, "ticker3": 419, "dashboard": 791,
		"game": 4500, "chat": 284, "book": 61 << 10, "telemetry": 1050,
	}
	for _, s := range workload.All() {
		t.Run(s.Name, func(t *testing.T) {
			const n = 200
			total, smallest, largest := 0, 1<<30, 0
			for range n {
				text, _ := s.NextText()
				total += len(text)
				smallest, largest = min(smallest, len(text)), max(largest, len(text))
			}
			mean := total / n
			t.Logf("mean %d, from %d to %d bytes", mean, smallest, largest)
			if w := want[s.Name]; w == 0 || mean < w*95/100 || mean > w*105/100 {
				t.Errorf("mean size is %d, want %d within 5 %%", mean, w)
			}
			if s.Name == "telemetry" && (smallest < 600 || largest > 1500) {
				t.Errorf("sizes are from %d to %d, want 600 to 1500", smallest, largest)
			}
		})
	}
}

func TestMessagesAreJSONObjectsWithTheirKey(t *testing.T) {
	for _, s := range workload.All() {
		t.Run(s.Name, func(t *testing.T) {
			keys := map[string]bool{}
			for range 50 {
				text, key := s.NextText()
				if !utf8.Valid(text) {
					t.Fatalf("not UTF-8: %q", text)
				}
				var frame struct {
					Event, Channel string
					Data           map[string]any
					Sequence       uint32
					Key            *string `json:"conflation_key"`
				}
				if err := json.Unmarshal(text, &frame); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				if frame.Event != s.Event || frame.Channel != s.Channel || frame.Sequence == 0 {
					t.Fatalf("frame is of %q on %q, number %d", frame.Event, frame.Channel, frame.Sequence)
				}
				keys[key] = true
				if s.KeyPath == "" {
					if key != "" || frame.Key != nil {
						t.Fatalf("key %q without a path", key)
					}
					continue
				}
				var at any = frame.Data
				for segment := range strings.SplitSeq(s.KeyPath, ".") {
					at = at.(map[string]any)[segment]
				}
				if at != key || frame.Key == nil || *frame.Key != key {
					t.Fatalf("key is %q, data says %v", key, at)
				}
			}
			if s.KeyPath != "" && len(keys) < 2 {
				t.Errorf("only %d keys in 50 messages", len(keys))
			}
		})
	}
}

func TestStreamsAreDeterministic(t *testing.T) {
	a, b, other := workload.All(), workload.All(), workload.Seeded(2)
	for i := range a {
		differs := false
		for range 20 {
			x, y, z := a[i].Next(), b[i].Next(), other[i].Next()
			if !bytes.Equal(x, y) {
				t.Fatalf("%s: %s and %s", a[i].Name, x, y)
			}
			differs = differs || !bytes.Equal(x, z)
		}
		if !differs {
			t.Errorf("%s: the seed makes no difference", a[i].Name)
		}
	}
}

func TestPairsAreDeterministicAndBounded(t *testing.T) {
	const largest = 5000
	a, b := workload.NewPairs(7, largest), workload.NewPairs(7, largest)
	sizes := map[int]int{}
	equal, related := 0, 0
	for range 5000 {
		base, target := a.Next()
		base2, target2 := b.Next()
		if !bytes.Equal(base, base2) || !bytes.Equal(target, target2) {
			t.Fatal("the same seed gives different pairs")
		}
		if len(base) > largest || len(target) > largest {
			t.Fatalf("texts of %d and %d bytes, want at most %d", len(base), len(target), largest)
		}
		sizes[len(base)]++
		if bytes.Equal(base, target) {
			equal++
		} else if n := min(len(base), len(target), 16); n == 16 && bytes.Equal(base[:n], target[:n]) {
			related++
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, 4096} {
		if sizes[n] == 0 {
			t.Errorf("no base of %d bytes among 5000", n)
		}
	}
	if equal == 0 || related < 500 {
		t.Errorf("%d equal and %d related pairs among 5000", equal, related)
	}
}
