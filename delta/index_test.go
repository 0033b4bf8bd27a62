package delta

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAPublisherCannotMakeTheSearchIndexForever: a text made of alternating pieces from two distant places
// makes the search go back and forth between them. It must not index both places anew with every piece.
// Before, that took fifteen times as long as other texts.
func TestAPublisherCannotMakeTheSearchIndexForever(t *testing.T) {
	seed := rand.Uint64()
	chance := rand.New(rand.NewPCG(seed, 0))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(chance.Uint32())
		}
		return b
	}
	base := noise(1 << 16)
	// A search at the first place, text that has not moved up to the second place, and a search there.
	target := slices.Concat(base[:500], noise(60), base[600:7000], noise(60), base[7200:7300])
	for i := 0; len(target) < len(base); i++ {
		at := 700 + 5800*(i%2) + i*4%800
		target = append(target, base[at:at+16]...)
	}
	for name, c := range map[string]struct {
		encode func(e *Encoder, dst, base, target []byte) []byte
		apply  func(dst, base, delta []byte, limit int) ([]byte, error)
	}{"fossil": {(*Encoder).AppendFossil, ApplyFossil}, "vcdiff": {(*Encoder).AppendVCDIFF, ApplyVCDIFF}} {
		var e Encoder
		out := c.encode(&e, nil, base, target)
		if most := (restless + 2) * len(base); e.m.index.filled > most {
			t.Errorf("%s, seed %d: %d bytes were indexed, want %d at most", name, seed, e.m.index.filled, most)
		}
		if got, err := c.apply(nil, base, out, len(target)); err != nil || !slices.Equal(got, target) {
			t.Errorf("%s, seed %d: it is another text: %v", name, seed, err)
		}
	}
}
