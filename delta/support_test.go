package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSaltTellsTriplesApart(t *testing.T) {
	seen := map[uint64]string{}
	for _, x := range [][3]string{{"a", "b", "c"}, {"ab", "", "c"}, {"", "ab", "c"}, {"a", "bc", ""}, {"a", "b", "d"}, {"", "", ""}} {
		s := Salt(x[0], x[1], x[2])
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %s have one salt", x, other)
		}
		seen[s] = fmt.Sprintf("%q", x)
	}
	if Salt("a", "b", "c") != Salt("a", "b", "c") {
		t.Error("the salt is not stable")
	}
}

func TestNumberStaysBelow31Bits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset, salt := rapid.Uint64().Draw(t, "offset"), rapid.Uint64().Draw(t, "salt")
		n := Number(offset, salt)
		if n >= 1<<31 {
			t.Fatalf("DS-09: number %d", n)
		}
		if next := Number(offset+1, salt); next != (n+1)&(1<<31-1) {
			t.Fatalf("%d follows %d", next, n)
		}
	})
}

func TestShapeOf(t *testing.T) {
	for data, want := range map[string]Shape{
		``: Empty, ` `: Text, `{}`: Structure, ` [1] `: Structure, `{"a":1}x`: Text, `{`: Text, `[1,]`: Text,
		`1`: Scalar, `-1.5e3`: Scalar, `true`: Scalar, `null`: Scalar, `"x"`: Scalar, `"x`: Text, `hello`: Text, `trueish`: Text,
	} {
		if got := ShapeOf([]byte(data)); got != want {
			t.Errorf("ShapeOf(%q) is %d, want %d", data, got, want)
		}
	}
}

func FuzzShapeOf(f *testing.F) {
	f.Add([]byte(`{"a":[1,2]}`))
	f.Add([]byte(` "x" `))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := ShapeOf(data)
		var v any
		valid := json.Unmarshal(data, &v) == nil
		_, object := v.(map[string]any)
		_, list := v.([]any)
		want := Text
		switch {
		case len(data) == 0:
			want = Empty
		case valid && (object || list):
			want = Structure
		case valid:
			want = Scalar
		}
		if got != want {
			t.Fatalf("ShapeOf(%q) is %d, want %d", data, got, want)
		}
	})
}

// DS-24 to DS-26 and the rules of protocol section 3.9.
func TestPathFindsItsValue(t *testing.T) {
	for _, c := range []struct{ path, data, want string }{
		{"symbol", `{"symbol":"BTC"}`, "BTC"},
		{"data.symbol", `{"symbol":"BTC"}`, "BTC"},
		{"data.symbol", `{"data":{"symbol":"ETH"},"symbol":"BTC"}`, "ETH"},
		{"data", `{"symbol":"BTC"}`, ""},
		{"a.b.0", `{"a":{"b":["x","y"]}}`, "x"},
		{"a.b.1", `{"a":{"b":["x","y"]}}`, "y"},
		{"a.b.2", `{"a":{"b":["x","y"]}}`, ""},
		{"a.b.01", `{"a":{"b":["x","y"]}}`, ""},
		{"0", `["x"]`, "x"},
		{"0", `{"0":"zero"}`, "zero"},
		{"*", `{"symbol":"BTC"}`, ""},
		{"*", `{"*":"star"}`, "star"},
		{"#", `[1,2]`, ""},
		{"@this", `{"a":1}`, ""},
		{"n", `{"n":12.50}`, "12.50"},
		{"n", `{"n":12345678901234567890}`, "12345678901234567890"},
		{"b", `{"b":true}`, "true"},
		{"b", `{"b":false}`, "false"},
		{"x", `{"x":null}`, ""},
		{"x", `{"x":{}}`, ""},
		{"x", `{"x":[]}`, ""},
		{"x", `{}`, ""},
		{"x", `{"x":"a\"bé"}`, `a"bé`},
		{"x", `{"x":"first","x":"second"}`, "first"},
		{"x\"", `{"x\"":"quoted"}`, "quoted"},
		{"x", `{"x":"` + strings.Repeat("k", 256) + `"}`, strings.Repeat("k", 256)},
		{"x", `{"x":"` + strings.Repeat("k", 257) + `"}`, ""},
		{"x", `"x"`, ""},
		{"x", ``, ""},
	} {
		p, err := ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Value([]byte(c.data)); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.path, c.data, got, c.want)
		}
	}
	for _, bad := range []string{"", "a..b", ".", "a.", strings.Repeat("a", 257), strings.Repeat("a.", 16) + "a"} {
		if _, err := ParsePath(bad); err == nil {
			t.Errorf("path %.30q was accepted", bad)
		}
	}
}

// twinValue does the same with encoding/json.
func twinValue(path string, data []byte) string {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return ""
	}
	segments := strings.Split(path, ".")
	if m, ok := v.(map[string]any); ok && segments[0] == "data" && len(segments) > 1 {
		if _, has := m["data"]; !has {
			segments = segments[1:]
		}
	}
	for _, s := range segments {
		switch x := v.(type) {
		case map[string]any:
			v = x[s]
		case []any:
			i := -1
			_, _ = fmt.Sscanf(s, "%d", &i)
			if i < 0 || i >= len(x) || fmt.Sprint(i) != s {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	switch x := v.(type) {
	case string:
		if len(x) <= MaxKey {
			return x
		}
	case json.Number:
		if len(x) <= MaxKey {
			return x.String()
		}
	case bool:
		return fmt.Sprint(x)
	}
	return ""
}

func TestPathAgreesWithItsTwin(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int().AsAny(), rapid.StringN(0, 8, 20).AsAny())
		if depth == 0 {
			return leaf
		}
		key := rapid.SampledFrom([]string{"a", "b", "data", "0", "1", "*", "x y"})
		return rapid.OneOf(leaf, rapid.MapOfN(key, value(depth-1), 0, 4).AsAny(), rapid.SliceOfN(value(depth-1), 0, 3).AsAny())
	}
	segment := rapid.SampledFrom([]string{"a", "b", "data", "0", "1", "*", "x y"})
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(value(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		path := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, "path"), ".")
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Value(data), twinValue(path, data); got != want {
			t.Fatalf("%s of %s is %q, want %q", path, data, got, want)
		}
	})
}

// DS-27: bases are forgotten in the order of their last publication.
func TestBasesAgreeWithAPlainList(t *testing.T) {
	type kept struct {
		key    string
		offset uint64
		at     time.Time
		size   int
	}
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{Keys: rapid.IntRange(1, 5).Draw(t, "keys"), Bytes: rapid.IntRange(1, 200).Draw(t, "bytes"), Age: 10 * time.Second}
		b := NewBases[uint64](l)
		var twin []kept
		now := time.Unix(1000, 0)
		for offset := uint64(1); offset < 60; offset++ {
			now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "seconds")) * time.Second)
			key := fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "key"))
			remove := func() {
				for i := range twin {
					if twin[i].key == key {
						twin = append(twin[:i:i], twin[i+1:]...)
						return
					}
				}
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				b.Drop(key)
				remove()
			case 1:
				b.Reset()
				twin = nil
			default:
				size := rapid.IntRange(0, 120).Draw(t, "size")
				b.Put(key, offset, now, offset, size)
				remove()
				twin = append(twin, kept{key, offset, now, size})
				sum := func() (n int) {
					for _, k := range twin {
						n += k.size
					}
					return n
				}
				for len(twin) > l.Keys || sum() > l.Bytes && len(twin) > 1 {
					twin = twin[1:]
				}
			}
			for i := range 8 {
				got, ok := b.Get(fmt.Sprint(i), now)
				want := uint64(0)
				for _, k := range twin {
					if k.key == fmt.Sprint(i) && now.Sub(k.at) < l.Age {
						want = k.offset
					}
				}
				if ok != (want > 0) || ok && (got.Value != want || got.Offset != want) {
					t.Fatalf("base of %d is %d (%v), want %d", i, got.Offset, ok, want)
				}
			}
			if b.Len() != len(twin) {
				t.Fatalf("%d bases, want %d", b.Len(), len(twin))
			}
		}
	})
}

func BenchmarkBases(b *testing.B) {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	s := NewBases[*int](Limits{Keys: 100, Bytes: 1 << 20, Age: time.Minute})
	now := time.Unix(1000, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := keys[i%100]
		s.Get(k, now)
		s.Put(k, uint64(i), now, nil, 400)
	}
}

func BenchmarkPath(b *testing.B) {
	p, err := ParsePath("symbol")
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(`{"venue":"alpha","price":101.25,"bids":[1,2,3],"symbol":"BTC-USD","more":{"a":1,"b":"two"}}`)
	b.ReportAllocs()
	for b.Loop() {
		p.Value(data)
	}
}
