package hub

import (
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/lxzan/gws"
)

const (
	extensions = "Sec-WebSocket-Extensions"
	// rsv1 marks a compressed message (RFC 7692 section 6).
	rsv1 = 0x40
	// packMin is the size of the smallest message worth compressing.
	packMin = 128
	// packLevel is the fastest one. A frame is compressed once and shared, but
	// while its channel waits.
	packLevel = flate.BestSpeed
)

// deflateOption is per-message compression without context takeover in either
// direction: what is sent can be shared by all sockets, and no connection keeps a
// window.
var deflateOption = gws.PermessageDeflate{
	Enabled: true, Level: packLevel, Threshold: packMin, PoolSize: 8,
}

// acceptsDeflate tells whether one of the extension offers can be honoured as it is
// (RFC 7692 section 7). A smaller window of the server cannot be: the compressor
// has one size. Other extensions and unknown parameters are declined.
func acceptsDeflate(header http.Header) bool {
	for _, line := range header.Values(extensions) {
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
			// The client may use less than the largest window; no answer
			// asks it to.
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
	// The level is a constant in range.
	p.w, _ = flate.NewWriter(p, packLevel)
	return p
}}

// packedFor returns the form of the frame for a socket. Control frames and units of
// several frames are never compressed.
func (f *Frame) packedFor(o *outbox) *Frame {
	if !o.deflates || f.head == 0 || len(f.b)-int(f.head) < packMin || f.b[0] != finBit|opText {
		return f
	}
	if packed := f.packed.Load(); packed != nil {
		return packed
	}
	f.pack.Lock()
	defer f.pack.Unlock()
	packed := f.packed.Load()
	if packed == nil {
		packed = f.deflate()
		f.packed.Store(packed)
	}
	return packed
}

// deflate compresses a text frame, unless that makes it longer.
func (f *Frame) deflate() *Frame {
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
	buf := append(newBuffer(n), p.out[:n]...)
	return seal(buf, rsv1|opText)
}
