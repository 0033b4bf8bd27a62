package delta

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// MaxKey is the longest conflation value in bytes; longer ones count as none.
const MaxKey = 256

// Path is where the conflation value of a publication stands in its data: names of
// members and indices of lists, joined by dots. The zero value finds nothing.
type Path struct {
	segments []string
	indices  []int // -1 for a segment that is no index
}

const (
	maxPath         = 256
	maxPathSegments = 16
)

// ParsePath reads a path such as `symbol`, `data.symbol` or `a.b.0`. Every segment
// is literal; nothing is a wildcard.
func ParsePath(text string) (Path, error) {
	if text == "" || len(text) > maxPath {
		return Path{}, fmt.Errorf("conflation path has %d bytes, must have 1 to %d", len(text), maxPath)
	}
	p := Path{segments: strings.Split(text, ".")}
	if len(p.segments) > maxPathSegments {
		return Path{}, fmt.Errorf("conflation path has %d segments, the limit is %d", len(p.segments), maxPathSegments)
	}
	for _, s := range p.segments {
		if s == "" {
			return Path{}, fmt.Errorf("conflation path %q has an empty segment", text)
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || strconv.Itoa(n) != s {
			n = -1
		}
		p.indices = append(p.indices, n)
	}
	return p, nil
}

// Value returns the conflation value of a publication (protocol section 3.9). data
// must be valid JSON, or the value is unspecified; gjson looks it up without
// decoding the rest, which is 20 times cheaper than encoding/json and keeps
// numbers as they were spelled. The text is a copy.
func (p Path) Value(data []byte) string {
	if len(p.segments) == 0 || len(data) == 0 {
		return ""
	}
	v := gjson.Parse(unsafe.String(unsafe.SliceData(data), len(data)))
	segments, indices := p.segments, p.indices
	if segments[0] == "data" && len(segments) > 1 && v.IsObject() {
		if _, found := member(v, "data"); !found {
			segments, indices = segments[1:], indices[1:]
		}
	}
	for i, s := range segments {
		var found bool
		if v, found = step(v, s, indices[i]); !found {
			return ""
		}
	}
	var text string
	switch v.Type {
	case gjson.String:
		text = v.Str
	case gjson.Number, gjson.True, gjson.False:
		text = v.Raw
	}
	if len(text) > MaxKey {
		return ""
	}
	return strings.Clone(text)
}

func step(v gjson.Result, name string, index int) (gjson.Result, bool) {
	switch {
	case v.IsObject():
		return member(v, name)
	case v.IsArray() && index >= 0:
		i := 0
		var at gjson.Result
		found := false
		v.ForEach(func(_, value gjson.Result) bool {
			if i == index {
				at, found = value, true
			}
			i++
			return !found
		})
		return at, found
	}
	return gjson.Result{}, false
}

// member finds a member by its literal name; the first of several counts.
func member(v gjson.Result, name string) (at gjson.Result, found bool) {
	v.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			at, found = value, true
		}
		return !found
	})
	return at, found
}
