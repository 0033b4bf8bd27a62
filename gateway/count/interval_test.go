package count_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
)

var start = time.Unix(1_700_000_000, 123).UTC()

// naive is the rule as it is documented, with a list that is searched.
type naive struct {
	n, most  int
	idle     time.Duration
	last     uint64
	lastTime time.Time
	values   []string
	counts   []uint32
}

func (v *naive) step(offset, prev uint64, t time.Time, live bool, value string, plain bool) bool {
	if (t.Sub(v.lastTime) > v.idle || v.lastTime.Sub(t) > v.idle) && v.last > 0 {
		v.values, v.counts = nil, nil
	}
	if live && prev < v.last {
		v.values, v.counts = nil, nil
	}
	v.last, v.lastTime = offset, t
	if plain {
		return false
	}
	if v.n <= 1 {
		return true
	}
	count := uint32(0)
	if i := slices.Index(v.values, value); i >= 0 {
		count = v.counts[i]
		v.values, v.counts = slices.Delete(v.values, i, i+1), slices.Delete(v.counts, i, i+1)
	}
	v.values = append(v.values, value)
	v.counts = append(v.counts, (count+1)%uint32(v.n))
	if len(v.values) > v.most {
		v.values, v.counts = v.values[1:], v.counts[1:]
	}
	return count == 0
}

func (v *naive) snapshot() count.Snapshot {
	s := count.Snapshot{Offset: v.last, Time: v.lastTime, N: max(v.n, 1), MaxKeys: v.most, Values: []string{}, Counts: []uint32{}}
	s.Values, s.Counts = append(s.Values, v.values...), append(s.Counts, v.counts...)
	return s
}

// publication is a publication of a random log.
type publication struct {
	offset, prev uint64
	time         time.Time
	live         bool
	value        string
	plain        bool
}

// tell passes the publication to an interval.
func (p publication) tell(iv *count.Interval) (full bool) {
	if p.plain {
		iv.Pass(p.offset, p.prev, p.time, p.live)
		return false
	}
	return iv.Step(p.offset, p.prev, p.time, p.live, p.value)
}

// drawLog makes a log of a channel with silences, purges, and parts that are read from history.
func drawLog(t *rapid.T) []publication {
	values := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "é"})
	var log []publication
	offset, now := uint64(0), start
	for range rapid.IntRange(1, 120).Draw(t, "publications") {
		prev := offset
		offset += uint64(rapid.IntRange(1, 3).Draw(t, "step"))
		switch rapid.IntRange(0, 19).Draw(t, "event") {
		case 0:
			now = now.Add(2 * time.Minute)
		case 1:
			now = now.Add(time.Minute) // exactly idle, which is not longer
		case 2:
			prev = 0
		case 3:
			now = now.Add(-time.Second) // the clock of another leader
		case 4:
			now = now.Add(-time.Hour)
		default:
			now = now.Add(time.Second)
		}
		live, plain := rapid.IntRange(0, 9).Draw(t, "live") > 0, rapid.IntRange(0, 3).Draw(t, "plain") == 0
		log = append(log, publication{offset, prev, now, live, values.Draw(t, "value"), plain})
	}
	return log
}

func TestIntervalAgreesWithTheRuleAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, most := rapid.IntRange(0, 5).Draw(t, "n"), rapid.IntRange(1, 5).Draw(t, "max keys")
		iv := count.NewInterval(n, most, time.Minute)
		twin := &naive{n: n, most: most, idle: time.Minute}
		for i, p := range drawLog(t) {
			got := p.tell(iv)
			if want := twin.step(p.offset, p.prev, p.time, p.live, p.value, p.plain); got != want {
				t.Fatalf("publication %d (%+v): full is %v, want %v", i, p, got, want)
			}
			if diff := cmp.Diff(iv.Snapshot(), twin.snapshot()); diff != "" {
				t.Fatalf("after publication %d, got (-) and want (+):\n%s", i, diff)
			}
			if iv.Len() != len(twin.values) {
				t.Fatalf("%d values are remembered, want %d", iv.Len(), len(twin.values))
			}
		}
	})
}

// TestNewcomerAgreesFromItsSnapshotOn: a count that starts from a snapshot anywhere in the log makes the same
// decisions from there on as one that saw the whole log, and has the same hash.
func TestNewcomerAgreesFromItsSnapshotOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, most := rapid.IntRange(0, 5).Draw(t, "n"), rapid.IntRange(1, 5).Draw(t, "max keys")
		log := drawLog(t)
		join := rapid.IntRange(0, len(log)).Draw(t, "join")
		veteran, newcomer := count.NewInterval(n, most, time.Minute), count.NewInterval(n, most, time.Minute)
		for _, p := range log[:join] {
			p.tell(veteran)
		}
		text, err := json.Marshal(veteran.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		var s count.Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if err := newcomer.Restore(s); err != nil {
			t.Fatal(err)
		}
		for i, p := range log[join:] {
			if veteran.Hash() != newcomer.Hash() {
				t.Fatalf("hashes differ %d publications after joining", i)
			}
			a := p.tell(veteran)
			if b := p.tell(newcomer); a != b {
				t.Fatalf("%d publications after joining: veteran %v, newcomer %v", i+1, a, b)
			}
		}
		if veteran.Hash() != newcomer.Hash() {
			t.Fatal("hashes differ at the end")
		}
	})
}

func TestOneOfNIsFull(t *testing.T) {
	for n, want := range map[int]string{
		0: "FFFFFFFF",
		1: "FFFFFFFF",
		2: "FdFdFdFd",
		3: "FddFddFd",
		5: "FddddFdd",
		9: "Fddddddd",
	} {
		iv := count.NewInterval(n, 10, time.Minute)
		var got strings.Builder
		for i := range 8 {
			// Another value in between has a count of its own.
			iv.Step(uint64(2*i+1), uint64(2*i), start, true, "other")
			if iv.Step(uint64(2*i+2), uint64(2*i+1), start, true, "v") {
				got.WriteByte('F')
			} else {
				got.WriteByte('d')
			}
		}
		if got.String() != want {
			t.Errorf("n = %d: got %s, want %s", n, got.String(), want)
		}
	}
}

func TestWhatMakesTheNextPublicationFull(t *testing.T) {
	for name, c := range map[string]struct {
		next publication
		full bool
	}{
		"nothing special":                           {publication{12, 11, start, true, "v", false}, false},
		"a silence longer than idle":                {publication{12, 11, start.Add(time.Minute + 1), true, "v", false}, true},
		"a silence as long as idle":                 {publication{12, 11, start.Add(time.Minute), true, "v", false}, false},
		"the clock goes back a little":              {publication{12, 11, start.Add(-time.Minute), true, "v", false}, false},
		"the clock goes back by more than idle":     {publication{12, 11, start.Add(-time.Minute - 1), true, "v", false}, true},
		"the channel was purged":                    {publication{12, 0, start, true, "v", false}, true},
		"the newest publication before was removed": {publication{12, 10, start, true, "v", false}, true},
		"one from history, which knows no previous": {publication{12, 0, start, false, "v", false}, false},
		"a value that was not seen":                 {publication{12, 11, start, true, "w", false}, true},
		"an offset that was counted already":        {publication{11, 10, start, true, "v", false}, true},
	} {
		t.Run(name, func(t *testing.T) {
			iv := count.NewInterval(10, 10, time.Minute)
			iv.Step(10, 9, start, true, "v")
			iv.Step(11, 10, start, true, "v")
			if got := iv.Step(c.next.offset, c.next.prev, c.next.time, c.next.live, c.next.value); got != c.full {
				t.Errorf("full is %v, want %v", got, c.full)
			}
		})
	}
}

func TestOffsetThatDoesNotRiseChangesNothing(t *testing.T) {
	iv := count.NewInterval(3, 10, time.Minute)
	iv.Step(5, 0, start, true, "v")
	before, hash := iv.Snapshot(), iv.Hash()
	for _, offset := range []uint64{0, 4, 5} {
		iv.Step(offset, 0, start.Add(time.Hour), true, "w")
	}
	if diff := cmp.Diff(iv.Snapshot(), before); diff != "" || iv.Hash() != hash {
		t.Errorf("after (-) and before (+):\n%s", diff)
	}
}

func TestResetGoesBackWhenTheLogBeginsANewLife(t *testing.T) {
	iv := count.NewInterval(3, 10, time.Minute)
	iv.Step(500, 0, start, true, "v")
	iv.Reset(2, start)
	if offset, at := iv.Position(); offset != 2 || !at.Equal(start) || iv.Len() != 0 {
		t.Errorf("at offset %d, %v with %d values", offset, at, iv.Len())
	}
	if !iv.Step(3, 2, start, true, "v") || iv.Step(4, 3, start, true, "v") {
		t.Error("want the first publication of the new life full and the second not")
	}
}

func TestValuesThatAreNotUTF8CountAsOne(t *testing.T) {
	iv := count.NewInterval(10, 10, time.Minute)
	if !iv.Step(1, 0, start, true, "\xff") || iv.Step(2, 1, start, true, "\xfe\xfd") {
		t.Error("want the first of them full and the second not")
	}
	other := count.NewInterval(10, 10, time.Minute)
	if err := other.Restore(iv.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if other.Step(3, 2, start, true, "\xff") {
		t.Error("the snapshot lost the count")
	}
}

func TestHashTellsStatesApart(t *testing.T) {
	make := func(n, most int, steps ...publication) *count.Interval {
		iv := count.NewInterval(n, most, time.Minute)
		for _, p := range steps {
			p.tell(iv)
		}
		return iv
	}
	states := map[string]*count.Interval{
		"nothing":       make(3, 5),
		"another n":     make(4, 5),
		"another cap":   make(3, 6),
		"one value":     make(3, 5, publication{1, 0, start, true, "a", false}),
		"another value": make(3, 5, publication{1, 0, start, true, "b", false}),
		"another time":  make(3, 5, publication{1, 0, start.Add(1), true, "a", false}),
		"another place": make(3, 5, publication{2, 0, start, true, "a", false}),
		"twice":         make(3, 5, publication{1, 0, start, true, "a", false}, publication{2, 1, start, true, "a", false}),
		"two values":    make(3, 5, publication{1, 0, start, true, "a", false}, publication{2, 1, start, true, "b", false}),
		"full again": make(3, 5, publication{1, 0, start, true, "a", false}, publication{2, 1, start, true, "a", false},
			publication{3, 2, start, true, "a", false}),
		"silence": make(3, 5, publication{1, 0, start, true, "a", false}, publication{3, 1, start.Add(time.Hour), true, "b", false}),
	}
	seen := map[uint64]string{}
	for name, iv := range states {
		if other, ok := seen[iv.Hash()]; ok {
			t.Errorf("%q and %q have the same hash", name, other)
		}
		seen[iv.Hash()] = name
	}
}

func TestSnapshotsThatCannotBeAreRefused(t *testing.T) {
	for reason, s := range map[string]count.Snapshot{
		"n is 0":       {MaxKeys: 1},
		"m is 0":       {N: 2},
		"with 0 count": {Offset: 1, N: 2, MaxKeys: 5, Values: []string{"a"}},
		"2 values, m":  {Offset: 1, N: 2, MaxKeys: 1, Values: []string{"a", "b"}, Counts: []uint32{0, 1}},
		"there twice":  {Offset: 1, N: 2, MaxKeys: 5, Values: []string{"a", "a"}, Counts: []uint32{0, 1}},
		"must be belo": {Offset: 1, N: 2, MaxKeys: 5, Values: []string{"a"}, Counts: []uint32{2}},
		"n is 1":       {Offset: 1, N: 1, MaxKeys: 5, Values: []string{"a"}, Counts: []uint32{0}},
		"at offset 0":  {N: 2, MaxKeys: 5, Values: []string{"a"}, Counts: []uint32{1}},
		"not UTF-8":    {Offset: 1, N: 2, MaxKeys: 5, Values: []string{"\xff"}, Counts: []uint32{1}},
	} {
		iv := count.NewInterval(2, 5, time.Minute)
		iv.Step(7, 0, start, true, "kept")
		before := iv.Snapshot()
		err := iv.Restore(s)
		if !errors.Is(err, count.ErrBadSnapshot) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
		if diff := cmp.Diff(iv.Snapshot(), before); diff != "" {
			t.Errorf("%s: the state changed (-):\n%s", reason, diff)
		}
	}
}

func TestSnapshotOfOtherSettingsGivesOnlyThePlace(t *testing.T) {
	source := count.NewInterval(3, 5, time.Minute)
	source.Step(7, 0, start, true, "a")
	for _, iv := range []*count.Interval{count.NewInterval(4, 5, time.Minute), count.NewInterval(3, 6, time.Minute), count.NewInterval(1, 5, time.Minute)} {
		if err := iv.Restore(source.Snapshot()); err != nil {
			t.Fatal(err)
		}
		if offset, at := iv.Position(); offset != 7 || !at.Equal(start) || iv.Len() != 0 {
			t.Errorf("at offset %d, %v with %d values, want 7, %v, none", offset, at, iv.Len(), start)
		}
	}
}

// TestSnapshotsFitIntoTheBucket: with the most values, of any kind, a checkpoint still fits into the bucket,
// and a count that starts from it makes the same decisions.
func TestSnapshotsFitIntoTheBucket(t *testing.T) {
	for name, pad := range map[string]string{
		"letters": strings.Repeat("x", 240), "escaped": strings.Repeat("<\x00\u2028\\", 30), "short": "",
	} {
		t.Run(name, func(t *testing.T) {
			veteran, newcomer := count.NewInterval(3, 1<<20, time.Minute), count.NewInterval(3, 1<<20, time.Minute)
			offset := uint64(0)
			step := func(iv *count.Interval, n uint64) bool {
				return iv.Step(n, n-1, start, true, fmt.Sprint(pad, n%30_000))
			}
			for range 50_000 {
				offset++
				step(veteran, offset)
			}
			text, err := json.Marshal(veteran.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > kv.DefaultMaxValueBytes || len(text) < kv.DefaultMaxValueBytes/3 {
				t.Errorf("a snapshot of %d values takes %d bytes", veteran.Len(), len(text))
			}
			var s count.Snapshot
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if err := newcomer.Restore(s); err != nil {
				t.Fatal(err)
			}
			for range 50_000 {
				offset++
				if a, b := step(veteran, offset), step(newcomer, offset); a != b || veteran.Hash() != newcomer.Hash() {
					t.Fatalf("publication %d: veteran %v, newcomer %v", offset, a, b)
				}
			}
		})
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"s":7,"t":"2024-01-02T03:04:05.6Z","n":3,"m":4,"k":["a","é"],"c":[1,0]}`))
	f.Add([]byte(`{"s":0,"t":"0001-01-01T00:00:00Z","n":3,"m":4,"k":[],"c":[]}`))
	f.Add([]byte(`{"s":7,"n":3,"m":4,"k":["a"],"c":[3]}`))
	f.Add([]byte(`{"n":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s count.Snapshot
		if json.Unmarshal(text, &s) != nil {
			return
		}
		iv := count.NewInterval(3, 4, time.Minute)
		if iv.Restore(s) != nil {
			return
		}
		got := iv.Snapshot()
		again := count.NewInterval(3, 4, time.Minute)
		if err := again.Restore(got); err != nil {
			t.Fatalf("its own snapshot is refused: %v", err)
		}
		if diff := cmp.Diff(again.Snapshot(), got); diff != "" || again.Hash() != iv.Hash() {
			t.Fatalf("restored twice (-) and once (+):\n%s", diff)
		}
		iv.Step(s.Offset+1, s.Offset, s.Time, true, "a")
	})
}

func TestStepOfAKnownValueDoesNotAllocate(t *testing.T) {
	iv := count.NewInterval(10, 100, time.Minute)
	values := make([]string, 100)
	for i := range values {
		values[i] = fmt.Sprint("value ", i)
	}
	offset := uint64(0)
	round := func() {
		for _, v := range values {
			iv.Step(offset+1, offset, start, true, v)
			offset++
		}
	}
	round()
	if got := testing.AllocsPerRun(100, round); got != 0 {
		t.Errorf("%v allocations per 100 steps, want none", got)
	}
}

func BenchmarkIntervalStep(b *testing.B) {
	for _, keys := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			iv := count.NewInterval(10, keys, time.Minute)
			values := make([]string, keys)
			for i := range values {
				values[i] = fmt.Sprint("symbol-", i)
				iv.Step(uint64(i+1), uint64(i), start, true, values[i])
			}
			offset := uint64(keys)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				iv.Step(offset+1, offset, start, true, values[i%keys])
				offset++
			}
		})
	}
	b.Run("values=endless", func(b *testing.B) {
		iv := count.NewInterval(10, 100, time.Minute)
		values := make([]string, 1<<12)
		for i := range values {
			values[i] = fmt.Sprint("symbol-", i)
		}
		offset := uint64(0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			iv.Step(offset+1, offset, start, true, values[i%len(values)])
			offset++
		}
	})
}
