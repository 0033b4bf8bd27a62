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

// TestHoldsAddUp: the total of held bytes is the sum over all requests, whatever they take and give back. It
// never exceeds the total bound or the share of an app.
func TestHoldsAddUp(t *testing.T) {
	for _, apps := range []int{1, 2} {
		b := newBodies(100, func() int { return apps })
		share := int64(100 / apps)
		rnd := rand.New(rand.NewPCG(1, 1))
		all := [6]hold{}
		for i := range all {
			all[i] = hold{bodies: b, app: string(rune('a' + i%3))}
		}
		has, of := [6]int64{}, map[string]int64{}
		sum := int64(0)
		change := func(i int, n int64) {
			has[i], of[all[i].app], sum = has[i]+n, of[all[i].app]+n, sum+n
		}
		for range 2000 {
			i, n := rnd.IntN(len(all)), rnd.Int64N(61)
			switch rnd.IntN(3) {
			case 0:
				want := sum+n <= 100 && of[all[i].app]+n <= share
				if got := all[i].take(n); got != want {
					t.Fatalf("%d of %d, with %d of %d for the app: %t", n, sum, of[all[i].app], share, got)
				}
				if want {
					change(i, n)
				}
			case 1:
				n = min(n, has[i])
				all[i].give(n)
				change(i, -n)
			case 2:
				all[i].release()
				change(i, -has[i])
			}
			if b.held != sum || all[i].bytes != has[i] || b.of[all[i].app] != of[all[i].app] {
				t.Fatalf("held are %d, by one %d, by its app %d; want %d, %d, %d", b.held, all[i].bytes, b.of[all[i].app], sum, has[i], of[all[i].app])
			}
		}
		for i := range all {
			all[i].release()
		}
		if b.held != 0 || len(b.of) != 0 {
			t.Errorf("held are %d of %d apps when all have gone", b.held, len(b.of))
		}
	}
}
