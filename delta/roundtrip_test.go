package delta_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/centrifugal/fdelta"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/test/workload"
)

// roundTrip encodes and decodes a pair in both formats. Fossil is also checked against another implementation
// in both directions.
func roundTrip(t *testing.T, e *delta.Encoder, buf, base, target []byte) []byte {
	t.Helper()
	for _, c := range codecs {
		d := c.append(e, buf[:0], base, target)
		// The overhead is bounded: at worst a header and one insert.
		if len(d) > len(target)+32 {
			t.Fatalf("%s: delta of %d bytes for a target of %d", c.name, len(d), len(target))
		}
		got, err := c.apply(nil, base, d, len(target))
		if err != nil || !bytes.Equal(got, target) {
			t.Fatalf("%s: got %q, %v\nwant %q\nbase %q\ndelta %q", c.name, got, err, target, base, d)
		}
		if c.name == "vcdiff" {
			checkProfile(t, d)
			buf = d
			continue
		}
		if got, err := fdelta.Apply(base, d); err != nil || !bytes.Equal(got, target) {
			t.Fatalf("the reference makes %q, %v of our delta\nwant %q\nbase %q\ndelta %q", got, err, target, base, d)
		}
		if got, err := delta.ApplyFossil(nil, base, fdelta.Create(base, target), len(target)); err != nil || !bytes.Equal(got, target) {
			t.Fatalf("we make %q, %v of the delta of the reference\nwant %q\nbase %q", got, err, target, base)
		}
		buf = d
	}
	return buf
}

// checkProfile checks CO-05 and CO-06: header, indicators and exactly one window.
func checkProfile(t *testing.T, d []byte) {
	t.Helper()
	if len(d) < 6 || string(d[:5]) != "\xd6\xc3\xc4\x00\x00" {
		t.Fatalf("VCDIFF delta begins with % x", d[:min(len(d), 5)])
	}
	at := 6
	integer := func() (v int) {
		for {
			c := d[at]
			at++
			v = v<<7 | int(c&0x7f)
			if c < 0x80 {
				return v
			}
		}
	}
	switch d[5] {
	case 0:
	case 1:
		integer()
		integer()
	default:
		t.Fatalf("Win_Indicator is %#02x", d[5])
	}
	if size := integer(); at+size != len(d) {
		t.Fatalf("the window ends at byte %d of %d", at+size, len(d))
	}
	integer()
	if d[at] != 0 {
		t.Fatalf("Delta_Indicator is %#02x", d[at])
	}
}

func TestCO05_CO06_VCDIFFStaysInItsProfile(t *testing.T) {
	var e delta.Encoder
	for _, v := range vectors {
		checkProfile(t, e.AppendVCDIFF(nil, []byte(v.base), []byte(v.target)))
	}
	for _, s := range workload.All() {
		a, _ := s.NextText()
		b, _ := s.NextText()
		checkProfile(t, e.AppendVCDIFF(nil, a, b))
		checkProfile(t, e.AppendVCDIFF(nil, nil, b))
		checkProfile(t, e.AppendVCDIFF(nil, a, nil))
	}
}

func TestCO09_RandomPairsSurvive(t *testing.T) {
	n := 100_000
	if raceEnabled || testing.Short() {
		n = 6_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d pairs", seed, n)
	pairs := workload.NewPairs(seed, 1<<17)
	var e delta.Encoder
	var buf []byte
	for i := range n {
		base, target := pairs.Next()
		buf = roundTrip(t, &e, buf, base, target)
		if t.Failed() {
			t.Fatalf("pair %d of seed %d", i, seed)
		}
	}
}

func TestCO09_TextsOfCriticalSizesSurvive(t *testing.T) {
	sizes := []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 1 << 18, 1 << 20}
	if raceEnabled || testing.Short() {
		sizes = sizes[:len(sizes)-2]
	}
	r := rand.New(rand.NewPCG(3, 14))
	var e delta.Encoder
	var buf []byte
	for _, n := range sizes {
		random := make([]byte, n)
		for i := range random {
			random[i] = byte(r.Uint32())
		}
		constant := bytes.Repeat([]byte{'a'}, n)
		changed := bytes.Clone(random)
		for range 1 + n/1000 {
			if n > 0 {
				changed[r.IntN(n)] ^= 1
			}
		}
		rotated := append(bytes.Clone(random[n/3:]), random[:n/3]...)
		for _, base := range [][]byte{random, constant, nil} {
			for _, target := range [][]byte{random, constant, changed, rotated, random[:n/2], nil} {
				buf = roundTrip(t, &e, buf, base, target)
			}
		}
	}
}

func TestCO10_LettersCutByCopiesAreRebuilt(t *testing.T) {
	// é is c3 a9, è is c3 a8, 漢 and 潢 share their first byte: copies end in
	// the middle of letters.
	base := "{\"text\":\"" + "éééééééé 漢漢漢漢漢漢 👍👍👍👍" + "\"}"
	target := "{\"text\":\"" + "ééééééèé 漢漢潢漢漢漢 👍👎👍👍" + "\"}"
	var e delta.Encoder
	roundTrip(t, &e, nil, []byte(base), []byte(target))
	if d := e.AppendFossil(nil, []byte(base), []byte(target)); bytes.Contains(d, []byte("è")) {
		t.Errorf("no copy ends within a letter: %q", d)
	}
}

// TestAnEncoderOutlivesItsNumbers: an index marks its places with numbers that grow from base to base. Here
// they pass 2^32, where they must start again.
func TestAnEncoderOutlivesItsNumbers(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("indexes four gigabytes")
	}
	r := rand.New(rand.NewPCG(1, 1))
	base := make([]byte, 64<<20)
	for i := 0; i+8 <= len(base); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			base[i+j] = byte(v >> (8 * j))
		}
	}
	small := []byte("the quick brown fox jumps over the lazy dog, and again, and once more")
	moved := append(bytes.Clone(small[40:]), small[:40]...)
	var e delta.Encoder
	var buf []byte
	target := base[1000:1200]
	for i := range 70 {
		buf = e.AppendFossil(buf[:0], base, target)
		if got, err := delta.ApplyFossil(nil, base, buf, len(target)); err != nil || !bytes.Equal(got, target) {
			t.Fatalf("round %d: %v", i, err)
		}
		buf = e.AppendFossil(buf[:0], small, moved)
		if got, err := delta.ApplyFossil(nil, small, buf, len(moved)); err != nil || !bytes.Equal(got, moved) {
			t.Fatalf("round %d: %v", i, err)
		}
		if len(buf) > 30 {
			t.Fatalf("round %d: the move was not found: %q", i, buf)
		}
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	for _, s := range workload.All() {
		all := pairsOf(s, 50)
		for _, c := range codecs {
			var e delta.Encoder
			var buf []byte
			encode := func() {
				for _, p := range all {
					buf = c.append(&e, buf[:0], p.base, p.target)
				}
			}
			encode()
			if n := testing.AllocsPerRun(3, encode); n != 0 {
				t.Errorf("%s %s: %v allocations, want 0", s.Name, c.name, n)
			}
		}
	}
}

func fuzzDecoder(f *testing.F, c codec) {
	var e delta.Encoder
	for _, v := range vectors {
		f.Add([]byte(v.base), c.append(&e, nil, []byte(v.base), []byte(v.target)))
	}
	f.Add([]byte(nil), c.append(&e, nil, nil, []byte("x")))
	f.Add([]byte("0123456789"), []byte("5\n5@3,1:x0;"))
	f.Add([]byte("0123456789"), []byte("\xd6\xc3\xc4\x00\x00\x01\x0a\x00\x08\x05\x00\x01\x02\x01y\x02\x14\x08"))
	f.Fuzz(func(t *testing.T, base, d []byte) {
		const limit = 1 << 12
		got, err := c.apply([]byte("kept"), base, d, limit)
		if string(got[:4]) != "kept" {
			t.Fatalf("what was there became %q", got[:4])
		}
		if err == nil {
			if len(got) > 4+limit {
				t.Fatalf("%d bytes, limit %d", len(got)-4, limit)
			}
			return
		}
		if len(got) != 4 || cap(got) > 4+limit+limit {
			t.Fatalf("%d bytes of %d besides error %v", len(got), cap(got), err)
		}
		known := false
		for _, e := range []error{delta.ErrMalformed, delta.ErrChecksum, delta.ErrTooLarge, delta.ErrUnsupported} {
			known = known || errors.Is(err, e)
		}
		if !known {
			t.Fatalf("unknown error %v", err)
		}
	})
}

func FuzzCO08_ApplyFossil(f *testing.F) { fuzzDecoder(f, codecs[0]) }

func FuzzCO08_ApplyVCDIFF(f *testing.F) { fuzzDecoder(f, codecs[1]) }

func FuzzCO09_RoundTrip(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.base), []byte(v.target))
	}
	f.Add([]byte(nil), []byte("x"))
	f.Add([]byte("0123456789abcdef"), []byte("0123456789abcdef"))
	var e delta.Encoder
	f.Fuzz(func(t *testing.T, base, target []byte) { roundTrip(t, &e, nil, base, target) })
}
