package websocket

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// patient is a peer that ignores every callback.
type patient struct{}

func (patient) Listens()         {}
func (patient) Pace(int)         {}
func (patient) Refuse(*BadFrame) {}
func (patient) TooSlow()         {}

// frames returns some masked frames of random kinds and sizes, of which some are invalid.
func frames(rnd *rand.Rand) (b []byte) {
	for range 1 + rnd.IntN(6) {
		first := []byte{Fin | Text, Fin | Binary, Text, Fin, Fin | Ping, Fin | Pong, Fin | rsv1 | Text, Fin | Close, byte(rnd.Uint32())}[rnd.IntN(9)]
		switch size := rnd.IntN(400); {
		case rnd.IntN(12) == 0:
			b = append(b, first, 0xff, byte(rnd.Uint32()), 0, 0, 0, 0, 0, 1, 0)
		case size < 126:
			b = append(b, first, 0x80|byte(size))
			b = append(b, make([]byte, 4+size)...)
		default:
			b = append(b, first, 0x80|126, byte(size>>8), byte(size))
			b = append(b, make([]byte, 4+size)...)
		}
	}
	return b
}

// listener records when the connection is read.
type listener struct {
	patient
	said []string
}

func (l *listener) Listens()   { l.said = append(l.said, "listens") }
func (l *listener) Pace(n int) { l.said = append(l.said, fmt.Sprint("got ", n)) }

// TestWhoHandlesMessagesDoesNotListen: messages that arrived together are all handled before Listens is
// called again.
func TestWhoHandlesMessagesDoesNotListen(t *testing.T) {
	l := &listener{}
	message := []byte{0x81, 0x81, 0, 0, 0, 0, 'x'}
	in := io.MultiReader(bytes.NewReader(bytes.Repeat(message, 3)), bytes.NewReader(message[:3]), bytes.NewReader(message[3:]))
	b := NewGuard(in, nil, l, NewInbox(1<<20), 64<<10, false).Buffered()
	for n := range 4 {
		if _, err := io.ReadFull(b, make([]byte, len(message))); err != nil {
			t.Fatal(err)
		}
		l.said = append(l.said, fmt.Sprint("handles ", n))
	}
	want := []string{"listens", "got 3", "handles 0", "handles 1", "handles 2", "listens", "got 1", "listens", "got 0", "handles 3"}
	if !slices.Equal(l.said, want) {
		t.Errorf("%q, want %q", l.said, want)
	}
}

// TestTrust11GuardInPieces: the guard sees the same frames in whatever pieces they arrive.
func TestTrust11GuardInPieces(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	inbox := NewInbox(1 << 40)
	for range 200 {
		raw := frames(rnd)
		whole := NewGuard(nil, nil, patient{}, inbox, 64<<10, true)
		count, good := whole.judge(raw)
		pieces := NewGuard(nil, nil, patient{}, inbox, 64<<10, true)
		began, passed := 0, 0
		for rest := raw; len(rest) > 0 && pieces.bad == nil; {
			n := 1 + rnd.IntN(len(rest))
			f, g := pieces.judge(rest[:n])
			began, passed, rest = began+f, passed+g, rest[n:]
		}
		// Bytes of a bad head may have been passed on before it was known to be bad.
		if whole.bad != pieces.bad || count != began || passed < good || passed > good+10 {
			t.Fatalf("%x: %v, %d frames, %d bytes at once; %v, %d, %d in pieces", raw, whole.bad, count, good, pieces.bad, began, passed)
		}
	}
}
