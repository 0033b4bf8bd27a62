package delta_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
	"pgregory.net/rapid"
)

// TestPathsFindTheirValue tests DS-24, DS-25 and DS-26, and the rules of protocol section 3.9.
func TestPathsFindTheirValue(t *testing.T) {
	k256 := strings.Repeat("k", 256)
	for _, tt := range []struct{ name, path, data, want string }{
		{"a member", "symbol", `{"symbol":"BTC"}`, "BTC"},
		{"a member after others", "symbol", `{"a":{"symbol":1},"b":[{"symbol":2}],"c":"symbol","symbol":"BTC"}`, "BTC"},
		{"a member behind space", "symbol", " { \"a\" : [ 1 , 2 ] , \"symbol\" : \"BTC\" } ", "BTC"},
		{"a path that begins with data, left out", "data.symbol", `{"symbol":"BTC"}`, "BTC"},
		{"a path that begins with data, meant", "data.symbol", `{"symbol":"BTC","data":{"symbol":"ETH"}}`, "ETH"},
		{"a member named data that has nothing", "data.symbol", `{"symbol":"BTC","data":{}}`, ""},
		{"a path that is data alone", "data", `{"symbol":"BTC"}`, ""},
		{"a path that is data alone, meant", "data", `{"data":"BTC"}`, "BTC"},
		{"an element of a list", "a.b.0", `{"a":{"b":["x","y"]}}`, "x"},
		{"another element", "a.b.1", `{"a":{"b":[["x"] , "y"]}}`, "y"},
		{"an element beyond the end", "a.b.2", `{"a":{"b":["x","y"]}}`, ""},
		{"an element of an empty list", "a.0", `{"a":[ ]}`, ""},
		{"an index with a zero in front", "a.01", `{"a":["x","y"]}`, ""},
		{"a negative index", "a.-1", `{"a":["x","y"]}`, ""},
		{"an index of an object is a name", "0", `{"0":"zero"}`, "zero"},
		{"a name of a list", "a.b", `{"a":["b"]}`, ""},
		{"a member of a string", "a.b", `{"a":"b"}`, ""},
		{"no wildcards", "*", `{"symbol":"BTC"}`, ""},
		{"a star is a name", "*", `{"*":"star"}`, "star"},
		{"no queries", "#", `[1,2]`, ""},
		{"no modifiers", "@this", `{"a":1}`, ""},
		{"a number as published", "n", `{"n":12.50}`, "12.50"},
		{"a large number", "n", `{"n":12345678901234567890,"m":1}`, "12345678901234567890"},
		{"a number at the end of a list", "n.1", `{"n":[1,-2.5e+7]}`, "-2.5e+7"},
		{"true", "b", `{"b":true}`, "true"},
		{"false", "b", `{"b": false }`, "false"},
		{"null", "x", `{"x":null}`, ""},
		{"an object", "x", `{"x":{}}`, ""},
		{"a list", "x", `{"x":["y"]}`, ""},
		{"missing", "x", `{"y":"z"}`, ""},
		{"missing in nothing", "x", `{}`, ""},
		{"an empty string", "x", `{"x":""}`, ""},
		{"escapes", "x", `{"x":"a\"b\\\/\b\f\n\r\té\u00e9\ud83d\ude00"}`, "a\"b\\/\b\f\n\r\téé😀"},
		{"half a surrogate pair", "x", `{"x":"\ud83d\u0041\ude00"}`, "\ufffdA\ufffd"},
		{"a name with escapes", "é\"", `{"\u00e9\"":"quoted"}`, "quoted"},
		{"a name that is the beginning of another", "x", `{"xy":"no","x":"yes"}`, "yes"},
		{"the first of several", "x", `{"x":"first","x":"second"}`, "first"},
		{"256 bytes", "x", `{"x":"` + k256 + `"}`, k256},
		{"257 bytes", "x", `{"x":"` + k256 + `k"}`, ""},
		{"256 bytes after unescaping", "x", `{"x":"\u006b` + k256[1:] + `"}`, k256},
		{"257 bytes after unescaping", "x", `{"x":"\u006b` + k256 + `"}`, ""},
		{"a number of 257 digits", "x", `{"x":1` + strings.Repeat("0", 256) + `}`, ""},
		{"nothing", "x", ``, ""},
		{"a string is no object", "x", `"x"`, ""},
		{"not JSON", "x", `{"x":"y"`, ""},
		{"not JSON after the value", "x", `{"x":"y"}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := delta.ParsePath(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Value([]byte(tt.data)); got != tt.want {
				t.Errorf("%s of %s is %q, want %q", tt.path, tt.data, got, tt.want)
			}
			if got, want := naiveValue(tt.path, []byte(tt.data)), tt.want; got != want {
				t.Errorf("the twin finds %q, want %q", got, want)
			}
		})
	}
	if got := (delta.Path{}).Value([]byte(`{"":"x"}`)); got != "" {
		t.Errorf("the zero path finds %q", got)
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	for name, path := range map[string]string{
		"empty": "", "a dot alone": ".", "a dot in front": ".a", "a dot at the end": "a.", "two dots": "a..b",
		"too long": strings.Repeat("a", 257), "too many segments": strings.Repeat("a.", 16) + "a",
	} {
		if _, err := delta.ParsePath(path); err == nil || !strings.HasPrefix(err.Error(), "conflation path ") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	for _, path := range []string{"a", strings.Repeat("a", 256), strings.Repeat("a.", 15) + "a"} {
		if _, err := delta.ParsePath(path); err != nil {
			t.Error(err)
		}
	}
}

// naiveMember is a member of an object. A list of them keeps the order of the text; a map would keep the last
// of several members with one name.
type naiveMember struct {
	name  string
	value any
}

// naiveDecode returns []naiveMember, []any, json.Number, string, bool or nil.
func naiveDecode(dec *json.Decoder) any {
	token, err := dec.Token()
	if err != nil {
		panic(err)
	}
	switch token {
	case json.Delim('{'):
		members := []naiveMember{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				panic(err)
			}
			members = append(members, naiveMember{name.(string), naiveDecode(dec)})
		}
		_, _ = dec.Token()
		return members
	case json.Delim('['):
		elements := []any{}
		for dec.More() {
			elements = append(elements, naiveDecode(dec))
		}
		_, _ = dec.Token()
		return elements
	}
	return token
}

func naiveMemberOf(v any, name string) (any, bool) {
	members, _ := v.([]naiveMember)
	for _, m := range members {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// naiveValue computes the conflation value with encoding/json.
func naiveValue(path string, data []byte) string {
	if !json.Valid(data) || !utf8.Valid(data) {
		return ""
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v := naiveDecode(dec)
	segments := strings.Split(path, ".")
	if segments[0] == "data" {
		if _, has := naiveMemberOf(v, "data"); !has {
			segments = segments[1:]
		}
	}
	for _, s := range segments {
		if elements, ok := v.([]any); ok {
			i, err := strconv.ParseUint(s, 10, 31)
			if err != nil || strconv.FormatUint(i, 10) != s || int(i) >= len(elements) {
				return ""
			}
			v = elements[i]
			continue
		}
		has := false
		if v, has = naiveMemberOf(v, s); !has {
			return ""
		}
	}
	var text string
	switch x := v.(type) {
	case string:
		text = x
	case json.Number:
		text = x.String()
	case bool:
		text = strconv.FormatBool(x)
	}
	if len(text) > delta.MaxKey {
		return ""
	}
	return text
}

func TestPathsAgreeWithTheirTwin(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "data", "0", "1", "*", "x y", "é", `q"`})
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		leaf := rapid.OneOf(
			rapid.SampledFrom([]string{`null`, `true`, `false`, `12.50`, `-0`, `1e9`, `""`, `"\ud83d\ude00"`, `"\u0041b\n"`, `"漢"`, `{}`, `[]`}),
			rapid.Map(rapid.StringN(0, 8, 20), func(s string) string { b, _ := json.Marshal(s); return string(b) }),
		)
		if depth == 0 {
			return leaf
		}
		space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t"})
		return rapid.Custom(func(t *rapid.T) string {
			var b strings.Builder
			pad := func(s string) { b.WriteString(space.Draw(t, "space") + s + space.Draw(t, "space")) }
			n := rapid.IntRange(0, 4).Draw(t, "n")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				pad(leaf.Draw(t, "leaf"))
			case 1:
				pad("[")
				for i := range n {
					if i > 0 {
						pad(",")
					}
					b.WriteString(value(depth-1).Draw(t, "element"))
				}
				pad("]")
			case 2:
				pad("{")
				for i := range n {
					if i > 0 {
						pad(",")
					}
					name, _ := json.Marshal(names.Draw(t, "name"))
					if rapid.IntRange(0, 5).Draw(t, "escaped") == 0 && name[1] < 0x80 && name[1] != '\\' {
						name = append([]byte(`"\u00`+strconv.FormatInt(int64(name[1]), 16)), name[2:]...)
					}
					pad(string(name))
					b.WriteByte(':')
					b.WriteString(value(depth-1).Draw(t, "member"))
				}
				pad("}")
			}
			return b.String()
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(value(3).Draw(t, "value"))
		if !json.Valid(data) {
			t.Fatalf("the generator makes %q", data)
		}
		path := strings.Join(rapid.SliceOfN(names, 1, 4).Draw(t, "path"), ".")
		p, err := delta.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		want := naiveValue(path, data)
		if got := p.Value(data); got != want {
			t.Fatalf("%s of %s is %q, want %q", path, data, got, want)
		}
		if got := p.Lookup(data); got != want {
			t.Fatalf("%s of %s is %q by Lookup, want %q", path, data, got, want)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("symbol", []byte(`{"symbol":"BTC"}`))
	f.Add("data.a.0", []byte(`{"a":["\u00e9",12.50],"a":1}`))
	f.Add("a.b.1", []byte(` { "a" : { "b" : [ null , false ] } } `))
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		p, err := delta.ParsePath(path)
		if err != nil {
			return
		}
		// For data that is not JSON, Lookup's value is unspecified, but it must not panic.
		p.Lookup(data)
		if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > 1000 {
			return
		}
		if got, want := p.Value(data), naiveValue(path, data); got != want {
			t.Fatalf("%q of %q is %q, want %q", path, data, got, want)
		}
	})
}

func TestValuesOfStreamsAreTheirKeys(t *testing.T) {
	for _, s := range workload.All() {
		if s.KeyPath == "" {
			continue
		}
		p, err := delta.ParsePath(s.KeyPath)
		if err != nil {
			t.Fatal(err)
		}
		data := s.Next()
		if got, want := p.Value(data), naiveValue(s.KeyPath, data); got != want || got == "" {
			t.Errorf("%s: value is %q, want %q", s.Name, got, want)
		}
		if n := testing.AllocsPerRun(50, func() { p.Value(data) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Name, n)
		}
	}
}

func BenchmarkPath(b *testing.B) {
	ticker := workload.All()[2].Next()
	large := append(bytes.Repeat([]byte(`{"list":[1,2,{"a":"b"}],"text":"some words"},`), 70), ticker...)
	large = append(append([]byte(`{"more":[`), large...), `],"symbol":"BTC"}`...)
	for _, bb := range []struct {
		name, path string
		data       []byte
	}{
		{"first", "symbol", ticker}, {"last", "ts", ticker}, {"missing", "nothing", ticker},
		{"nested", "more.3.list.2.a", large}, {"last of 3 KB", "symbol", large},
	} {
		p, err := delta.ParsePath(bb.path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name+"/lookup", func(b *testing.B) {
			b.SetBytes(int64(len(bb.data)))
			b.ReportAllocs()
			for b.Loop() {
				p.Lookup(bb.data)
			}
		})
		b.Run(bb.name+"/value", func(b *testing.B) {
			b.SetBytes(int64(len(bb.data)))
			b.ReportAllocs()
			for b.Loop() {
				p.Value(bb.data)
			}
		})
	}
}
