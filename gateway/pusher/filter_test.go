package pusher

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func matches(t *testing.T, filter, event string, tags map[string]string) bool {
	t.Helper()
	f, err := ParseFilter(filter)
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return f.Matches(event, tags)
}

func TestFilterComparisons(t *testing.T) {
	for _, c := range []struct {
		id, leaf string
		with     map[string]bool
		without  bool
	}{
		{"TF-01", `"cmp":"eq","val":"b"`, map[string]bool{"b": true, "a": false}, false},
		{"TF-01", `"cmp":"eq","val":1.50`, map[string]bool{"1.50": true, "1.5": false}, false},
		{"TF-01", `"cmp":"eq","val":true`, map[string]bool{"true": true}, false},
		{"TF-01 TF-03", `"cmp":"neq","val":"b"`, map[string]bool{"b": false, "a": true}, true},
		{"TF-01", `"cmp":"in","vals":["a",2]`, map[string]bool{"a": true, "2": true, "b": false}, false},
		{"TF-01 TF-03", `"cmp":"nin","vals":["a"]`, map[string]bool{"a": false, "b": true}, true},
		{"TF-01", `"cmp":"ex"`, map[string]bool{"": true}, false},
		{"TF-01 TF-03", `"cmp":"nex"`, map[string]bool{"": false}, true},
		{"TF-01", `"cmp":"sw","val":"ab"`, map[string]bool{"abc": true, "cab": false}, false},
		{"TF-01", `"cmp":"ew","val":"ab"`, map[string]bool{"abc": false, "cab": true}, false},
		{"TF-01", `"cmp":"ct","val":"b"`, map[string]bool{"abc": true, "ac": false}, false},
		{"TF-01 TF-04", `"cmp":"gt","val":"9"`, map[string]bool{"10": true, "9": false, "x": false, "0x10": false, "Inf": false}, false},
		{"TF-01", `"cmp":"gte","val":9`, map[string]bool{"9.0": true, "8.99": false}, false},
		{"TF-01", `"cmp":"lt","val":"1e3"`, map[string]bool{"999": true, "1000": false, "": false}, false},
		{"TF-01", `"cmp":"lte","val":"-1"`, map[string]bool{"-1": true, "0": false}, false},
		{"TF-04", `"cmp":"gt","val":"x"`, map[string]bool{"y": false, "1": false}, false},
	} {
		t.Run(c.id+" "+c.leaf, func(t *testing.T) {
			filter := `{"key":"k",` + c.leaf + `}`
			for tag, want := range c.with {
				if got := matches(t, filter, "e", map[string]string{"k": tag}); got != want {
					t.Errorf("with the tag %q: %v, want %v", tag, got, want)
				}
			}
			if got := matches(t, filter, "e", nil); got != c.without {
				t.Errorf("without the tag: %v, want %v", got, c.without)
			}
		})
	}
	t.Run("TF-02 branches nest", func(t *testing.T) {
		filter := `{"op":"or","nodes":[{"op":"and","nodes":[{"key":"a","cmp":"ex"},{"op":"not","nodes":[{"key":"b","cmp":"ex"}]}]},{"key":"c","cmp":"eq","val":"1"}]}`
		for _, c := range []struct {
			tags map[string]string
			want bool
		}{
			{map[string]string{"a": ""}, true}, {map[string]string{"a": "", "b": ""}, false},
			{map[string]string{"a": "", "b": "", "c": "1"}, true}, {nil, false},
		} {
			if got := matches(t, filter, "e", c.tags); got != c.want {
				t.Errorf("%v: %v, want %v", c.tags, got, c.want)
			}
		}
	})
	t.Run("TF-06 events and tags are combined with AND", func(t *testing.T) {
		filter := `{"events":["goal"],"tags":{"key":"k","cmp":"ex"}}`
		for _, c := range []struct {
			event string
			tags  map[string]string
			want  bool
		}{{"goal", map[string]string{"k": ""}, true}, {"goal", nil, false}, {"card", map[string]string{"k": ""}, false}} {
			if got := matches(t, filter, c.event, c.tags); got != c.want {
				t.Errorf("%s %v: %v, want %v", c.event, c.tags, got, c.want)
			}
		}
		if !matches(t, `{"events":[]}`, "anything", nil) || !matches(t, `{"tags":null,"expression":null}`, "anything", nil) {
			t.Error("no restriction restricts")
		}
	})
}

func TestFilterRules(t *testing.T) {
	leaf := `{"key":"k","cmp":"ex"}`
	nested := func(depth int) string {
		return strings.Repeat(`{"op":"not","nodes":[`, depth-1) + leaf + strings.Repeat(`]}`, depth-1)
	}
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		id, filter string
		ok         bool
	}{
		{"TF-07", `{"expression":"a == b"}`, false},
		{"TF-07", `{"expression":{"language":"jmespath","source":"x"},"events":["e"]}`, false},
		{"TF-08", `[]`, false}, {"TF-08", `"x"`, false}, {"TF-08", `{}`, false},
		{"TF-08", `{"op":"xor","nodes":[` + leaf + `]}`, false}, {"TF-08", `{"op":"and"}`, false}, {"TF-08", `{"op":"or","nodes":[]}`, false},
		{"TF-08", `{"op":"not","nodes":[` + leaf + `,` + leaf + `]}`, false}, {"TF-08", `{"op":"and","nodes":[1]}`, false},
		{"TF-08", `{"key":"k"}`, false}, {"TF-08", `{"key":"k","cmp":"like","val":"x"}`, false}, {"TF-08", `{"key":"","cmp":"ex"}`, false},
		{"TF-08", `{"key":1,"cmp":"ex"}`, false}, {"TF-08", `{"key":"k","cmp":"in"}`, false}, {"TF-08", `{"key":"k","cmp":"in","vals":[]}`, false},
		{"TF-08", `{"key":"k","cmp":"eq"}`, false}, {"TF-08", `{"key":"k","cmp":"eq","val":""}`, false}, {"TF-08", `{"key":"k","cmp":"eq","val":null}`, false},
		{"TF-08", `{"key":"k","cmp":"eq","val":{}}`, false}, {"TF-08", `{"events":"goal"}`, false}, {"TF-08", `{"events":[""]}`, false},
		{"TF-09", nested(16), true}, {"TF-09", nested(17), false},
		{"TF-09", `{"op":"and","nodes":[` + many(127, leaf) + `]}`, true}, {"TF-09", `{"op":"and","nodes":[` + many(128, leaf) + `]}`, false},
		{"TF-09", `{"key":"` + long(256) + `","cmp":"ex"}`, true}, {"TF-09", `{"key":"` + long(257) + `","cmp":"ex"}`, false},
		{"TF-09", `{"key":"k","cmp":"eq","val":"` + long(1024) + `"}`, true}, {"TF-09", `{"key":"k","cmp":"eq","val":"` + long(1025) + `"}`, false},
		{"TF-09", `{"key":"k","cmp":"in","vals":[` + many(128, "1") + `]}`, true}, {"TF-09", `{"key":"k","cmp":"in","vals":[` + many(129, "1") + `]}`, false},
		{"TF-09", `{"events":[` + many(50, `"e"`) + `]}`, true}, {"TF-09", `{"events":[` + many(51, `"e"`) + `]}`, false},
		{"TF-09", `{"events":["` + long(200) + `"]}`, true}, {"TF-09", `{"events":["` + long(201) + `"]}`, false},
	} {
		t.Run(fmt.Sprintf("%s %.60s of %d bytes", c.id, c.filter, len(c.filter)), func(t *testing.T) {
			if _, err := ParseFilter(c.filter); (err == nil) != c.ok {
				t.Errorf("got %v, want accepted %v", err, c.ok)
			}
		})
	}
}

// TestAFilterThatIsCutOff: a filter in a query parameter is not part of checked JSON, as one in a frame is. A
// truncated filter must be refused.
func TestAFilterThatIsCutOff(t *testing.T) {
	for _, whole := range []string{
		`{"key":"type","cmp":"in","vals":["goal","card"]}`,
		`{"op":"and","nodes":[{"key":"a","cmp":"eq","val":"1"},{"key":"b","cmp":"eq","val":"2"}]}`,
		`{"events":["goal","card"],"tags":{"key":"k","cmp":"ex"}}`,
	} {
		if _, err := ParseFilter(whole); err != nil {
			t.Fatal(err)
		}
		for n := 1; n < len(whole); n++ {
			if _, err := ParseFilter(whole[:n]); err == nil {
				t.Errorf("%s is accepted", whole[:n])
			}
		}
		for _, more := range []string{"}", "x", whole} {
			if _, err := ParseFilter(whole + more); err == nil {
				t.Errorf("%s is accepted", whole+more)
			}
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add([]byte(`{"op":"or","nodes":[{"key":"a","cmp":"in","vals":[1,"x"]},{"key":"b","cmp":"gt","val":"2"}]}`), "tag")
	f.Add([]byte(`{"events":["e"],"tags":{"key":"k","cmp":"nex"}}`), "")
	f.Add([]byte(`{"op":"and","nodes":[`+strings.Repeat(`{"key":"k","cmp":"ex"},`, 100)+`{"key":"k","cmp":"ex"}]}`), "")
	f.Add([]byte(`{"key":"k","cmp":"in","vals":[`+strings.Repeat("1,", 127)+`1]}`), "1")
	f.Add([]byte(strings.Repeat(`{"op":"not","nodes":[`, 120)), "")
	f.Add([]byte(`{"key":"`+strings.Repeat(`\u00e9`, 100)+`","cmp":"ex"}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, tag string) {
		filter, err := ParseFilter(string(raw))
		if err != nil || filter == nil {
			return
		}
		if !json.Valid(raw) {
			t.Errorf("%q is accepted, and is no JSON", raw)
		}
		if most := 12*len(raw) + 4096; filter.Size() < len(raw) || filter.Size() > most || len(raw) > maxFilterText {
			t.Errorf("a filter of %d bytes takes %d, want at most %d", len(raw), filter.Size(), most)
		}
		if filter.root != nil {
			if nodes, depth := count(filter.root); nodes > maxFilterNodes || depth > maxFilterDepth {
				t.Errorf("%d nodes, %d deep", nodes, depth)
			}
		}
		filter.Matches("e", map[string]string{"k": tag, "a": tag})
		if again, err := ParseFilter(filter.Text()); err != nil || again.Matches(tag, nil) != filter.Matches(tag, nil) {
			t.Errorf("%s decides differently when it is parsed again: %v", raw, err)
		}
	})
}

func count(n *filterNode) (nodes, depth int) {
	for _, c := range n.children {
		more, deep := count(c)
		nodes, depth = nodes+more, max(depth, deep)
	}
	return nodes + 1, depth + 1
}

func TestTrust09FilterText(t *testing.T) {
	text := func(n int) string {
		head, tail := `{"key":"k","cmp":"ex"`, `}`
		return head + strings.Repeat(" ", n-len(head)-len(tail)) + tail
	}
	if _, err := ParseFilter(text(maxFilterText)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := ParseFilter(text(maxFilterText + 1))
	if err == nil || !strings.Contains(err.Error(), "filter has 16385 bytes, the limit is 16384") {
		t.Errorf("above the limit: %v", err)
	}
}

// TestTrust09FilterSize: the estimate of a filter's size must not be far below the allocated bytes.
func TestTrust09FilterSize(t *testing.T) {
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for name, raw := range map[string]string{
		"leaves": `{"op":"and","nodes":[` + many(127, `{"key":"k","cmp":"ex"}`) + `]}`,
		"values": `{"op":"and","nodes":[` + many(60, `{"key":"k","cmp":"in","vals":[`+many(100, "1")+`]}`) + `]}`,
		"events": `{"events":[` + many(50, `"e"`) + `]}`,
		"long":   `{"key":"k","cmp":"eq","val":"` + strings.Repeat("x", 1024) + `"}`,
		"nested": strings.Repeat(`{"op":"not","nodes":[`, 15) + `{"key":"k","cmp":"ex"}` + strings.Repeat(`]}`, 15),
	} {
		const n = 200
		kept := make([]*Filter, n)
		before := allocated()
		for i := range kept {
			kept[i], _ = ParseFilter(raw)
		}
		took := (allocated() - before) / n
		if kept[0] == nil {
			t.Fatalf("%s is refused", name)
		}
		if size := kept[0].Size(); took > int64(size)*5/4 {
			t.Errorf("%s: the estimate is %d bytes, it takes %d", name, size, took)
		}
		runtime.KeepAlive(kept)
	}
}

func allocated() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
