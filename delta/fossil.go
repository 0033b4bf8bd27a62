package delta

import (
	"encoding/binary"
	"slices"
)

const fossilDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"

// AppendFossil appends the delta that turns base into target, in the format of protocol section 3.16, to dst,
// and returns the extended slice. Any two texts have a delta; it may be longer than the target, so the caller
// compares their lengths. dst must not overlap base or target. If either is larger than [MaxText], nothing is
// appended.
func (e *Encoder) AppendFossil(dst, base, target []byte) []byte {
	if len(base) > MaxText || len(target) > MaxText {
		return dst
	}
	m := &e.m
	m.match(base, target, fossilTariff)
	literal := len(target)
	for _, r := range m.runs {
		literal -= r.n
	}
	// A run costs at most two numbers of six bytes with their terminators, and the literal text before it one
	// more number. The slack allows copying short text eight bytes at a time.
	n := len(dst)
	dst = slices.Grow(dst, literal+18*len(m.runs)+32)
	b := dst[:cap(dst)]
	n = putFossil(b, n, uint32(len(target)), '\n')
	at := 0
	for _, r := range m.runs {
		if size := r.at - at; size > 0 {
			n = putFossil(b, n, uint32(size), ':')
			if size <= 8 && at+8 <= len(target) {
				binary.LittleEndian.PutUint64(b[n:], binary.LittleEndian.Uint64(target[at:]))
			} else {
				copy(b[n:], target[at:r.at])
			}
			n += size
		}
		n = putFossil(b, n, uint32(r.n), '@')
		n = putFossil(b, n, uint32(r.from), ',')
		at = r.end()
	}
	if at < len(target) {
		n = putFossil(b, n, uint32(len(target)-at), ':')
		n += copy(b[n:], target[at:])
	}
	n = putFossil(b, n, checksum(target), ';')
	return dst[:n]
}

// putFossil writes v and the byte that terminates it to b[n:] and returns the index after both.
func putFossil(b []byte, n int, v uint32, end byte) int {
	switch {
	case v < 1<<6:
		w := b[n : n+2]
		w[0], w[1] = fossilDigits[v], end
		return n + 2
	case v < 1<<12:
		w := b[n : n+3]
		w[0], w[1], w[2] = fossilDigits[v>>6&63], fossilDigits[v&63], end
		return n + 3
	case v < 1<<18:
		w := b[n : n+4]
		w[0], w[1], w[2], w[3] = fossilDigits[v>>12&63], fossilDigits[v>>6&63], fossilDigits[v&63], end
		return n + 4
	}
	k := fossilSize(int(v))
	for i := n + k - 1; i >= n; i-- {
		b[i] = fossilDigits[v&63]
		v >>= 6
	}
	b[n+k] = end
	return n + k + 1
}
