package workload

import (
	"math/rand/v2"
	"strings"
)

// Pairs makes random pairs of a base and a target to test codecs: unrelated texts, texts that differ by a few
// edits, texts of repeated and of moved parts, over small and large alphabets, of all sizes and often of
// those at which encoders change their behaviour. Equal seeds give equal pairs. It is not safe for concurrent
// use.
type Pairs struct {
	s       source
	largest int
}

// NewPairs returns pairs of texts of at most largest bytes each, which must be positive. Large texts are
// rare: most are below 600 bytes.
func NewPairs(seed uint64, largest int) *Pairs {
	return &Pairs{source{rand.New(rand.NewPCG(seed, 0xc0dec))}, largest}
}

// edges are sizes of special interest: zero, the windows and blocks of encoders and their neighbours, and the
// sizes at which numbers gain a digit.
var edges = []int{0, 0, 1, 2, 3, 4, 7, 8, 9, 14, 15, 16, 17, 18, 19, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 511, 512, 513, 4095, 4096, 4097}

var alphabets = []string{
	"a", "ab", "0123456789", `{}[]":,0123456789abcdef`, "aé漢👍 ", "\x00\xff\x80=;:@,\n~",
}

func (p *Pairs) size() int {
	var n int
	switch p.s.IntN(8) {
	case 0, 1:
		n = edges[p.s.IntN(len(edges))]
	case 2:
		n = 1 << (1 + p.s.IntN(16))
		n += p.s.IntN(n)
		if !p.s.chance(0.02) {
			n %= 3000
		}
	default:
		n = p.s.IntN(600)
	}
	return min(n, p.largest)
}

// text returns n random bytes.
func (p *Pairs) text(n int) []byte {
	b := make([]byte, 0, n)
	switch k := p.s.IntN(len(alphabets) + 2); {
	case k == len(alphabets):
		for len(b) < n {
			b = append(b, byte(p.s.Uint32()))
		}
	case k > len(alphabets):
		for len(b) < n {
			b = append(b, `{"symbol":"`...)
			b = append(b, symbols[p.s.IntN(len(symbols))]...)
			b = append(b, `","price":`...)
			b = fixed(b, 1000*p.s.Float64(), 2)
			b = append(b, `,"note":"`...)
			b = append(b, words[p.s.IntN(len(words))]...)
			b = append(b, `"},`...)
		}
	default:
		letters := []rune(alphabets[k])
		if strings.ContainsRune(alphabets[k], '\ufffd') {
			// The alphabet consists of bytes, not letters.
			for len(b) < n {
				b = append(b, alphabets[k][p.s.IntN(len(alphabets[k]))])
			}
			break
		}
		for len(b) < n {
			b = append(b, string(letters[p.s.IntN(len(letters))])...)
		}
	}
	return b[:n]
}

// part returns a random part of b of at most n bytes.
func (p *Pairs) part(b []byte, n int) []byte {
	if len(b) == 0 {
		return nil
	}
	from := p.s.IntN(len(b))
	return b[from : from+p.s.IntN(min(n, len(b)-from)+1)]
}

// Next returns the next pair. The caller owns both texts.
func (p *Pairs) Next() (base, target []byte) {
	base = p.text(p.size())
	switch p.s.IntN(5) {
	case 0:
		return base, p.text(p.size())
	case 1:
		// Parts of the base in any order, with new text between them.
		for range p.s.IntN(12) {
			target = append(target, p.part(base, 200)...)
			target = append(target, p.text(p.s.IntN(12))...)
		}
		return base, target[:min(len(target), p.largest)]
	}
	target = append(target, base...)
	for range p.s.IntN(1 + p.s.IntN(30)) {
		at := p.s.IntN(len(target) + 1)
		rest := append([]byte(nil), target[at:]...)
		cut := min(p.s.IntN(12), len(rest))
		target = target[:at]
		switch p.s.IntN(4) {
		case 0: // other bytes of the same number
			target = append(append(target, p.text(cut)...), rest[cut:]...)
		case 1: // fewer bytes
			target = append(target, rest[cut:]...)
		case 2: // more bytes
			target = append(append(target, p.text(p.s.IntN(12))...), rest...)
		case 3: // an element more
			target = append(append(target, p.part(base, 80)...), rest...)
		}
	}
	return base, target[:min(len(target), p.largest)]
}
