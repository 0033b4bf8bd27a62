package delta

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// common returns the length of the longest common prefix of a and b.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if d := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); d != 0 {
			return i + bits.TrailingZeros64(d)>>3
		}
		if i == 32 {
			break
		}
	}
	// Long runs go through the vector instructions behind bytes.Equal.
	for ; i+128 <= n && bytes.Equal(a[i:i+128], b[i:i+128]); i += 128 {
	}
	for ; i+8 <= n; i += 8 {
		if d := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); d != 0 {
			return i + bits.TrailingZeros64(d)>>3
		}
	}
	for ; i < n; i++ {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// commonEnd returns the length of the longest common suffix of a and b.
func commonEnd(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[len(a)-n:], b[len(b)-n:]
	i := n
	for ; i >= 8; i -= 8 {
		if d := binary.LittleEndian.Uint64(a[i-8:]) ^ binary.LittleEndian.Uint64(b[i-8:]); d != 0 {
			return n - i + bits.LeadingZeros64(d)>>3
		}
	}
	for ; i > 0; i-- {
		if a[i-1] != b[i-1] {
			return n - i
		}
	}
	return n
}
