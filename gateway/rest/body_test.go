package rest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func free() *hold { return &hold{bodies: newBodies(1<<30, func() int { return 1 })} }

func TestBodiesAreReadWhole(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1, 3*piece - 1, 3 * piece, 200_000} {
		want := make([]byte, n)
		_, _ = rnd.Read(want)
		for name, r := range map[string]io.Reader{
			"at once": bytes.NewReader(want), "halves": iotest.HalfReader(bytes.NewReader(want)),
			"end with the data": iotest.DataErrReader(bytes.NewReader(want)),
		} {
			announced := int64(-1)
			if name != "at once" {
				announced = int64(n)
			}
			if got, err := readBody(r, announced, free()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes %s: %d bytes, %v", n, name, len(got), err)
			}
		}
		if n == 0 {
			continue
		}
		broken := io.MultiReader(bytes.NewReader(want[:n-1]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := readBody(broken, int64(n), free()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of which one does not come: %v", n, err)
		}
	}
}
