package delta

import "math/bits"

// tariff describes what copies cost in a format.
type tariff struct {
	format format
	// mask selects the bytes of a window that must match at the present shift, maskBeside at other shifts.
	mask, maskBeside uint64
}

type format uint8

const (
	fossil format = iota
	vcdiff
)

var (
	// A copy among inserted text costs seven bytes and more.
	fossilTariff = tariff{fossil, 1<<64 - 1, 1<<64 - 1}
	// A copy costs as little as two bytes.
	vcdiffTariff = tariff{vcdiff, 1<<32 - 1, 1<<48 - 1}
)

// pays reports whether a copy of n bytes from a place in the base, after literal bytes of text since the last
// run, is shorter than the text.
func (m *matcher) pays(n, from, literal int) bool {
	if m.tariff.format == fossil {
		cost := fossilSize(n) + fossilSize(from) + 2
		if literal > 0 {
			// Another insert follows, with a length of its own.
			cost += 2
		}
		return n > cost
	}
	if n < 4 {
		return false
	}
	cost := 2
	if n > 18 {
		cost++
	}
	if literal > 0 {
		cost++
	}
	near := false
	if k := len(m.runs); k > 0 {
		near = uint(from-m.runs[k-1].from) < 128
	}
	if !near {
		cost += varintSize(from) - 1
	}
	return n > cost
}

// fossilSize returns the number of base-64 digits of v.
func fossilSize(v int) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<12:
		return 2
	case v < 1<<18:
		return 3
	}
	return (bits.Len(uint(v)) + 5) / 6
}

// varintSize returns the number of base-128 digits of v.
func varintSize(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	}
	return (bits.Len(uint(v)) + 6) / 7
}
