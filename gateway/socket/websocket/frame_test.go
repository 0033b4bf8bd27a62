package websocket

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestCloseReasonIsCutAtARune(t *testing.T) {
	f := Closing(4100, strings.Repeat("é", 100))
	if n := len(f.Payload()); n > 125 {
		t.Errorf("payload has %d bytes", n)
	}
	if !strings.HasSuffix(string(f.Payload()), "é") {
		t.Error("the reason ends in the middle of a rune")
	}
}

// TestHeads: the head states the size of the payload, at each boundary of RFC 6455 section 5.2.
func TestHeads(t *testing.T) {
	for size, head := range map[int]int{0: 2, 125: 2, 126: 4, 0xffff: 4, 0x10000: 10} {
		payload := bytes.Repeat([]byte{'x'}, size)
		f := Seal(append(Buffer(16), payload...), Text)
		b := f.Bytes()
		if len(b) != head+size || b[0] != Fin|Text || !bytes.Equal(f.Payload(), payload) {
			t.Fatalf("a payload of %d bytes makes a frame of %d that begins with %x", size, len(b), b[0])
		}
		said := uint64(b[1])
		switch said {
		case 126:
			said = uint64(binary.BigEndian.Uint16(b[2:]))
		case 127:
			said = binary.BigEndian.Uint64(b[2:])
		}
		if said != uint64(size) {
			t.Errorf("the head of %d bytes says %d", size, said)
		}
	}
}
