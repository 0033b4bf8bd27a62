package websocket

import (
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/sluicehq/sluice/gateway/socket"
)

// Extensions is the header with the offered extensions.
const Extensions = "Sec-WebSocket-Extensions"

const (
	// PackMin is the size of the smallest message that is compressed, in bytes.
	PackMin = 128
	// PackLevel is the fastest level. A frame is compressed only once, but its channel waits meanwhile.
	PackLevel = flate.BestSpeed

	// rsv1 marks a compressed message (RFC 7692 section 6).
	rsv1 = 0x40
)

// AcceptsDeflate reports whether one of the offered extensions can be accepted as it is (RFC 7692 section 7).
// An offer with a smaller window of the server is declined, because the compressor has one size, and so are
// other extensions and unknown parameters.
func AcceptsDeflate(header http.Header) bool {
	for _, line := range header.Values(Extensions) {
		for offer := range strings.SplitSeq(line, ",") {
			if honours(offer) {
				return true
			}
		}
	}
	return false
}

func honours(offer string) bool {
	parts := strings.Split(offer, ";")
	if strings.TrimSpace(parts[0]) != "permessage-deflate" {
		return false
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		name, value, given := strings.Cut(strings.TrimSpace(part), "=")
		name = strings.TrimSpace(name)
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if given {
				return false
			}
		case "server_max_window_bits":
			if value != "15" {
				return false
			}
		case "client_max_window_bits":
			// The client may use a smaller window than the largest one. The answer does not ask for that.
			if given && !windowBits(value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func windowBits(s string) bool {
	return len(s) == 1 && s[0] >= '8' && s[0] <= '9' || len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5'
}

// packer compresses one message at a time. Each begins with an empty window.
type packer struct {
	w   *flate.Writer
	out []byte
}

func (p *packer) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

var packers = sync.Pool{New: func() any {
	p := &packer{}
	// The level is a valid constant, so there is no error.
	p.w, _ = flate.NewWriter(p, PackLevel)
	return p
}}

// Packed returns the compressed form of a frame, made once and shared. Control frames, frames made by
// [socket.Join], small ones and those that would become longer are returned as they are.
func Packed(f *socket.Frame) *socket.Frame {
	size := len(f.Payload())
	if size == len(f.Bytes()) || size < PackMin || f.Bytes()[0] != Fin|Text {
		return f
	}
	return f.Other(deflate)
}

func deflate(f *socket.Frame) *socket.Frame {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	p.out = p.out[:0]
	p.w.Reset(p)
	if _, err := p.w.Write(f.Payload()); err != nil {
		return f
	}
	if err := p.w.Flush(); err != nil {
		return f
	}
	// The empty block at the end is left out (RFC 7692 section 7.2.1).
	n := len(p.out) - 4
	if n < 0 || n >= len(f.Payload()) {
		return f
	}
	return seal(append(Buffer(n), p.out[:n]...), Fin|rsv1|Text)
}
