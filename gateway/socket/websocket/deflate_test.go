package websocket

import (
	"bytes"
	"compress/flate"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/socket"
)

// TestDeflateOffers: RFC 7692 section 7, an offer is accepted as it is or not at all.
func TestDeflateOffers(t *testing.T) {
	for offer, want := range map[string]bool{
		"permessage-deflate":                                                         true,
		"permessage-deflate; client_max_window_bits":                                 true,
		"permessage-deflate; client_max_window_bits=10":                              true,
		`permessage-deflate; client_max_window_bits="15"`:                            true,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": true,
		"permessage-deflate; server_max_window_bits=15":                              true,
		"permessage-deflate; server_max_window_bits=10":                              false,
		"permessage-deflate; server_max_window_bits":                                 false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          true,
		"permessage-deflate; client_max_window_bits=16":                              false,
		"permessage-deflate; client_max_window_bits=7":                               false,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; something":                                              false,
		"x-permessage-deflate":                                                       false,
		"permessage-deflate-2":                                                       false,
		"":                                                                           false,
	} {
		h := http.Header{}
		if offer != "" {
			h.Set(Extensions, offer)
		}
		if got := AcceptsDeflate(h); got != want {
			t.Errorf("%q is accepted: %v, want %v", offer, got, want)
		}
	}
}

// TestPacked: a frame is compressed once, says so, and inflates to its text. A frame that gains nothing, or
// is not a single text frame, is unchanged.
func TestPacked(t *testing.T) {
	text := strings.Repeat("steady ", 100)
	f := Seal(append(Buffer(0), text...), Text)
	packed := Packed(f)
	if packed == f || packed != Packed(f) || packed.Bytes()[0] != Fin|rsv1|Text {
		t.Fatalf("packed to a frame that begins with %x", packed.Bytes()[0])
	}
	got, err := io.ReadAll(io.MultiReader(flate.NewReader(io.MultiReader(
		bytes.NewReader(packed.Payload()), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))))
	if err != nil || string(got) != text {
		t.Errorf("inflates to %q, %v", got, err)
	}
	noise := make([]byte, 256)
	for i, state := 0, uint32(1); i < len(noise); i++ {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	for name, f := range map[string]interface{ Bytes() []byte }{
		"a small one": Packed(Seal(append(Buffer(0), "{}"...), Text)),
		"a ping":      Packed(Seal(Buffer(0), Ping)),
		"two frames":  Packed(socket.Join(f, Closing(4200, "over"))),
		"noise":       Packed(Seal(append(Buffer(0), noise...), Text)),
	} {
		if f.Bytes()[0]&rsv1 != 0 {
			t.Errorf("%s is compressed", name)
		}
	}
}
