package count

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// ErrBadSnapshot is wrapped by errors about a snapshot that no [Interval] can have produced.
var ErrBadSnapshot = errors.New("invalid interval snapshot")

// Snapshot is the state of an [Interval] as a value. Its JSON form is the content of a checkpoint; times keep
// their nanoseconds.
type Snapshot struct {
	// Offset and Time are the position in the log, zero if nothing was counted.
	Offset uint64    `json:"s"`
	Time   time.Time `json:"t"`
	// N and MaxKeys are the arguments of the Interval.
	N       int `json:"n"`
	MaxKeys int `json:"m"`
	// Values and Counts are parallel, least recently published first. A count is the number of publications
	// from the last full one on, including it, and 0 if the next one is full.
	Values []string `json:"k"`
	Counts []uint32 `json:"c"`
}

// Snapshot returns a copy of the state.
func (iv *Interval) Snapshot() Snapshot {
	s := Snapshot{
		Offset: iv.last, Time: iv.lastTime, N: int(iv.n), MaxKeys: iv.most,
		Values: make([]string, 0, len(iv.index)), Counts: make([]uint32, 0, len(iv.index)),
	}
	for at := iv.nodes[0].next; at != 0; at = iv.nodes[at].next {
		s.Values = append(s.Values, iv.nodes[at].value)
		s.Counts = append(s.Counts, iv.nodes[at].count)
	}
	return s
}

// Restore replaces the state by that of a snapshot. Counts that were made with another N or another number of
// values mean nothing here, so only the position of such a snapshot is used. After an error, which wraps
// [ErrBadSnapshot], nothing has changed.
func (iv *Interval) Restore(s Snapshot) error {
	if err := s.validate(); err != nil {
		return err
	}
	iv.Reset(s.Offset, s.Time)
	if s.N != int(iv.n) || s.MaxKeys != iv.most {
		return nil
	}
	for i, value := range s.Values {
		node := &iv.nodes[iv.remember(value)]
		iv.sum -= node.mix()
		node.count = s.Counts[i]
		iv.sum += node.mix()
	}
	return nil
}

func (s Snapshot) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBadSnapshot, fmt.Sprintf(format, args...))
	}
	switch {
	case s.N < 1 || s.N > maxInterval:
		return bad("n is %d, must be 1 to %d", s.N, maxInterval)
	case s.MaxKeys < 1 || s.MaxKeys > maxRemembered:
		return bad("m is %d, must be 1 to %d", s.MaxKeys, maxRemembered)
	case len(s.Values) != len(s.Counts):
		return bad("%d values with %d counts", len(s.Values), len(s.Counts))
	case len(s.Values) > s.MaxKeys:
		return bad("%d values, m is %d", len(s.Values), s.MaxKeys)
	case s.N == 1 && len(s.Values) > 0:
		return bad("%d values although n is 1", len(s.Values))
	case s.Offset == 0 && len(s.Values) > 0:
		return bad("%d values at offset 0", len(s.Values))
	}
	seen := make(map[string]bool, len(s.Values))
	for i, value := range s.Values {
		if s.Counts[i] >= uint32(s.N) {
			return bad("count %d is %d, must be below n = %d", i, s.Counts[i], s.N)
		}
		if seen[value] {
			return bad("value %d is there twice", i)
		}
		if !utf8.ValidString(value) {
			return bad("value %d is not UTF-8", i)
		}
		seen[value] = true
	}
	return nil
}
