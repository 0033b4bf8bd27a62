package delta_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
	"pgregory.net/rapid"
)

func TestShapes(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, data string
		want       delta.Shape
	}{
		{"nothing", ``, delta.Empty},
		{"white space only", " \t\r\n", delta.Text},
		{"an object", `{}`, delta.Structure},
		{"an object with members", `{"a":1,"b":[true,false,null],"c":{"d":"e"}}`, delta.Structure},
		{"a list with space everywhere", " [ 1 , { \"a\" : 2 } ]\n", delta.Structure},
		{"repeated names", `{"a":1,"a":2}`, delta.Structure},
		{"escapes", `["\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\ud800"]`, delta.Structure},
		{"letters of several bytes", `{"é":"漢👍"}`, delta.Structure},
		{"numbers of all kinds", `[0,-0,1,-1.5,1e5,1E+5,1.25e-7,12345678901234567890]`, delta.Structure},
		{"a thousand levels", deep(1000), delta.Structure},
		{"more than a thousand levels", deep(1001), delta.Text},
		{"an integer", `1`, delta.Scalar},
		{"a fraction with an exponent", `-1.5e3`, delta.Scalar},
		{"true", `true`, delta.Scalar},
		{"false with space", ` false `, delta.Scalar},
		{"null", `null`, delta.Scalar},
		{"a string", `"x"`, delta.Scalar},
		{"plain text", `hello`, delta.Text},
		{"a word that begins like another", `trueish`, delta.Text},
		{"half a word", `nul`, delta.Text},
		{"two values", `{} {}`, delta.Text},
		{"a comma too many in a list", `[1,]`, delta.Text},
		{"a comma too many in an object", `{"a":1,}`, delta.Text},
		{"a comma too few", `[1 2]`, delta.Text},
		{"no colon", `{"a" 1}`, delta.Text},
		{"no value", `{"a":}`, delta.Text},
		{"a name without quotes", `{a:1}`, delta.Text},
		{"brackets crossed", `{"a":[1}]`, delta.Text},
		{"brackets closed by others", `[1}`, delta.Text},
		{"an object cut short", `{"a":1`, delta.Text},
		{"a list cut short", `[`, delta.Text},
		{"a string cut short", `"x`, delta.Text},
		{"a string cut in an escape", `"x\`, delta.Text},
		{"an unknown escape", `"\x"`, delta.Text},
		{"an escape cut short", `"\u00e`, delta.Text},
		{"an escape that is not hexadecimal", `"\u00eg"`, delta.Text},
		{"a control byte in a string", "\"a\tb\"", delta.Text},
		{"a leading zero", `01`, delta.Text},
		{"a sign alone", `-`, delta.Text},
		{"a plus sign", `+1`, delta.Text},
		{"a point without digits", `1.`, delta.Text},
		{"an exponent without digits", `1e+`, delta.Text},
		{"bytes that are not UTF-8", "[\"\xff\"]", delta.Text},
		{"half a letter", "[\"aaaaaaaaaaaaaaaa\xe6\xbc\"]", delta.Text},
		{"a byte order mark", "\ufeff{}", delta.Text},
		{"other white space", "\u00a0{}", delta.Text},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := delta.ShapeOf([]byte(tt.data)); got != tt.want {
				t.Errorf("shape of %.40q is %d, want %d", tt.data, got, tt.want)
			}
		})
	}
}

// naiveShape computes the shape with encoding/json, which accepts any bytes in strings and has a limit of
// 10,000 levels.
func naiveShape(data []byte) delta.Shape {
	if len(data) == 0 {
		return delta.Empty
	}
	if !json.Valid(data) || !utf8.Valid(data) {
		return delta.Text
	}
	switch bytes.TrimLeft(data, " \t\r\n")[0] {
	case '{', '[':
		return delta.Structure
	}
	return delta.Scalar
}

func checkShape(t interface{ Fatalf(string, ...any) }, data []byte) {
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > 1000 {
		return
	}
	if got, want := delta.ShapeOf(data), naiveShape(data); got != want {
		t.Fatalf("shape of %q is %d, want %d", data, got, want)
	}
}

func FuzzShapeOf(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{"a":[1,-2.5e+7,"é\u00e9\n",null,true,false]}`, ` "x" `, `[[[]]]`, `{"a":{"b":{}}}`, `0.1`, `-`, "[\"\x80\"]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkShape(t, data) })
}

// TestShapesOfDamagedMessagesAgreeWithTheirTwin: random damage of real messages reaches more code than random
// bytes do.
func TestShapesOfDamagedMessagesAgreeWithTheirTwin(t *testing.T) {
	var seeds [][]byte
	for _, s := range workload.All() {
		if data := s.Next(); len(data) < 5000 {
			seeds = append(seeds, data)
		}
	}
	seeds = append(seeds, []byte(`{"a\u00e9\\":["é",[],{},-0.5E-3,true,false,null," \" "]}`))
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Clone(rapid.SampledFrom(seeds).Draw(t, "message"))
		checkShape(t, data)
		for range rapid.IntRange(1, 3).Draw(t, "damages") {
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				data[at] = rapid.SampledFrom([]byte("{}[]\":,\\0-.e t\x01\x80u\n")).Draw(t, "byte")
			case 1:
				data = append(data[:at:at], data[at+1:]...)
			case 2:
				data = data[:at]
			}
			checkShape(t, data)
			if len(data) == 0 {
				return
			}
		}
	})
}

func BenchmarkShapeOf(b *testing.B) {
	for _, s := range workload.All() {
		data := s.Next()
		b.Run(s.Name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if delta.ShapeOf(data) != delta.Structure {
					b.Fatal("not a structure")
				}
			}
		})
		b.Run(s.Name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				json.Valid(data)
			}
		})
	}
}
