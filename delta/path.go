package delta

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	// MaxKey is the longest conflation value in bytes; longer ones count as
	// none.
	MaxKey = 256

	maxPath         = 256
	maxPathSegments = 16
)

// Path locates the conflation value of a publication in its data: member names and list indices, joined by
// dots. The zero value finds nothing. It is immutable and safe for concurrent use.
type Path struct {
	segments []segment
}

type segment struct {
	name string
	// index is the index in a list, -1 if the segment is not a number.
	index int
}

// ParsePath parses a path such as `symbol`, `data.symbol` or `a.b.0`. It has 1 to 256 bytes and at most 16
// segments, none of them empty. Every segment is literal: there are no wildcards and no escapes. An index is
// a decimal number without sign and leading zeros.
func ParsePath(text string) (Path, error) {
	if text == "" || len(text) > maxPath {
		return Path{}, fmt.Errorf("conflation path has %d bytes, must have 1 to %d", len(text), maxPath)
	}
	names := strings.Split(text, ".")
	if len(names) > maxPathSegments {
		return Path{}, fmt.Errorf("conflation path has %d segments, the limit is %d", len(names), maxPathSegments)
	}
	p := Path{make([]segment, len(names))}
	for i, name := range names {
		if name == "" {
			return Path{}, fmt.Errorf("conflation path %q has an empty segment", text)
		}
		index, err := strconv.Atoi(name)
		if err != nil || strconv.Itoa(index) != name {
			index = -1
		}
		p.segments[i] = segment{name, max(index, -1)}
	}
	return p, nil
}

// Value returns the conflation value of a publication (protocol section 3.9): the text of a string, a number
// as it was published, `true` or `false`. It is empty if the data is not JSON, if there is no such value at
// the path, or if it is longer than [MaxKey] bytes. If the first segment is `data` and the data has no such
// member, the segment is skipped. If members have the same name, the first one counts.
// one name the first counts.
// The value shares the memory of data, which therefore must never change; clone a value that must outlive it.
// what is to outlive it.
func (p Path) Value(data []byte) string {
	if len(p.segments) == 0 || !validJSON(data) {
		return ""
	}
	return p.Lookup(data)
}

// Lookup is [Path.Value] for data that is known to be JSON, because [ShapeOf] returned [Structure] or
// [Scalar]. For other data the value is unspecified. It reads no more of the data than necessary.
func (p Path) Lookup(data []byte) string {
	if len(p.segments) == 0 {
		return ""
	}
	segments := p.segments
	at := skipSpace(data, 0)
	if segments[0].name == "data" {
		if inner := member(data, at, "data"); inner >= 0 {
			at = inner
		}
		segments = segments[1:]
	}
	for _, s := range segments {
		if at = s.step(data, at); at < 0 {
			return ""
		}
	}
	return text(data, at)
}
