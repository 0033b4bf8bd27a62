package delta

import (
	"fmt"
	"slices"
)

// fossilValues maps each digit to its value, other bytes to 255. It is never written after initialization.
var fossilValues = func() (t [256]uint8) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(fossilDigits) {
		t[fossilDigits[i]] = uint8(i)
	}
	return t
}()

// ApplyFossil appends the target that the delta (protocol section 3.16) builds
// from base to dst and returns the extended slice. It allocates at most limit
// bytes for a target of at most limit bytes, whatever the delta claims, and
// never panics. On error dst is returned as it was; the errors are
// [ErrMalformed], [ErrTooLarge] and [ErrChecksum]. dst may not overlap base or
// delta.
func ApplyFossil(dst, base, delta []byte, limit int) ([]byte, error) {
	start := len(dst)
	size, at, ok := fossilNumber(delta, 0)
	if !ok || at == len(delta) || delta[at] != '\n' {
		return dst, fmt.Errorf("%w: no target length", ErrMalformed)
	}
	if uint64(size) > uint64(max(limit, 0)) {
		return dst, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, limit)
	}
	out := slices.Grow(dst, int(size))
	at++
	for {
		count, next, ok := fossilNumber(delta, at)
		if !ok || next == len(delta) {
			return dst, fmt.Errorf("%w: no command at byte %d", ErrMalformed, at)
		}
		rest := int(size) - (len(out) - start)
		op := delta[next]
		at = next + 1
		if op != ';' && uint64(count) > uint64(rest) {
			return dst, fmt.Errorf("%w: more text than announced at byte %d", ErrMalformed, next)
		}
		switch op {
		case '@':
			from, next, ok := fossilNumber(delta, at)
			if !ok || next == len(delta) || delta[next] != ',' {
				return dst, fmt.Errorf("%w: no offset at byte %d", ErrMalformed, at)
			}
			at = next + 1
			if uint64(from)+uint64(count) > uint64(len(base)) {
				return dst, fmt.Errorf("%w: copy of %d bytes from %d exceeds a base of %d", ErrMalformed, count, from, len(base))
			}
			out = append(out, base[int(from):int(from)+int(count)]...)
		case ':':
			if uint64(count) > uint64(len(delta)-at) {
				return dst, fmt.Errorf("%w: insert at byte %d is cut short", ErrMalformed, next)
			}
			out = append(out, delta[at:at+int(count)]...)
			at += int(count)
		case ';':
			if rest != 0 || at != len(delta) {
				return dst, fmt.Errorf("%w: ends %d bytes early in the text, %d in the delta", ErrMalformed, rest, len(delta)-at)
			}
			if checksum(out[start:]) != count {
				return dst, ErrChecksum
			}
			return out, nil
		default:
			return dst, fmt.Errorf("%w: unknown command at byte %d", ErrMalformed, next)
		}
	}
}

// fossilNumber reads the number at delta[at:] and returns the place after it.
// There must be at least one digit and the value must fit in 32 bits.
func fossilNumber(delta []byte, at int) (v uint32, next int, ok bool) {
	var n uint64
	for next = at; next < len(delta) && fossilValues[delta[next]] < 64; next++ {
		if n = n<<6 | uint64(fossilValues[delta[next]]); n > 1<<32-1 {
			return 0, next, false
		}
	}
	return uint32(n), next, next > at
}
