package delta

import (
	"fmt"
	"slices"
)

// ApplyVCDIFF appends the target that the delta (protocol section 3.17) builds from base to dst and returns
// the extended slice. It accepts what the public decoders accept: any number of windows with or without a
// source segment, no checksum, no secondary compression, no other code table. It allocates at most limit
// bytes for a target of at most limit bytes, and never panics. On error dst is returned unchanged; the errors
// are [ErrMalformed], [ErrTooLarge] and [ErrUnsupported]. dst must not overlap base or delta.
//
// A wrong base gives a wrong text and no error: only the number of the base protects the receiver.
func ApplyVCDIFF(dst, base, delta []byte, limit int) ([]byte, error) {
	if len(delta) < len(vcdiffMagic) || string(delta[:4]) != vcdiffMagic[:4] {
		return dst, fmt.Errorf("%w: no VCDIFF header", ErrMalformed)
	}
	if delta[4] != 0 {
		return dst, fmt.Errorf("%w: Hdr_Indicator is %#02x", ErrUnsupported, delta[4])
	}
	r := reader{b: delta, at: len(vcdiffMagic)}
	out := dst
	for {
		var err error
		if out, err = r.window(out, base, limit-(len(out)-len(dst))); err != nil {
			return dst, err
		}
		if r.at == len(delta) {
			return out, nil
		}
	}
}

// reader reads a part of a delta. After a failed read bad is set and values are
// zero.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// varint reads an integer below 2^31.
func (r *reader) varint() int {
	v := 0
	for {
		c := r.byte()
		if v = v<<7 | int(c&0x7f); v >= 1<<31 {
			r.bad = true
		}
		if r.bad {
			return 0
		}
		if c < 0x80 {
			return v
		}
	}
}

// section returns the next n bytes.
func (r *reader) section(n int) []byte {
	if n > len(r.b)-r.at {
		r.bad = true
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// window decodes one window and appends its target to dst.
func (r *reader) window(dst, base []byte, limit int) ([]byte, error) {
	began := r.at
	malformed := func(what string) ([]byte, error) {
		return dst, fmt.Errorf("%w: %s in the window at byte %d", ErrMalformed, what, began)
	}
	indicator := r.byte()
	if indicator > 1 {
		return dst, fmt.Errorf("%w: Win_Indicator is %#02x", ErrUnsupported, indicator)
	}
	w := windowState{start: len(dst)}
	if indicator == 1 {
		size := r.varint()
		from := r.varint()
		if r.bad || size > len(base) || from > len(base)-size {
			return malformed("source segment outside of the base")
		}
		w.source = base[from : from+size]
	}
	body := reader{b: r.section(r.varint())}
	size := body.varint()
	if indicator := body.byte(); !body.bad && !r.bad && indicator != 0 {
		return dst, fmt.Errorf("%w: Delta_Indicator is %#02x", ErrUnsupported, indicator)
	}
	data, inst, addr := body.varint(), body.varint(), body.varint()
	w.data.b, w.inst.b, w.addr.b = body.section(data), body.section(inst), body.section(addr)
	if r.bad || body.bad || body.at != len(body.b) {
		return malformed("lengths that do not fit")
	}
	if size > limit {
		return dst, fmt.Errorf("%w: %d more bytes, limit %d", ErrTooLarge, size, limit)
	}
	w.out = slices.Grow(dst, size)
	w.end = w.start + size
	for w.inst.at < len(w.inst.b) {
		if !w.step() {
			return malformed("impossible instruction")
		}
	}
	if len(w.out) != w.end || w.data.at != len(w.data.b) || w.addr.at != len(w.addr.b) {
		return malformed("sections that do not end together")
	}
	return w.out, nil
}

// windowState is a window being decoded.
type windowState struct {
	source           []byte
	data, inst, addr reader
	// out[start:end] is the target of the window.
	out        []byte
	start, end int
	near       [nearSlots]int
	slot       int
	same       [sameSlots]int
}

// step executes the one or two instructions of the next code.
func (w *windowState) step() bool {
	switch c := int(w.inst.byte()); {
	case c == 0:
		n := w.inst.varint()
		fill := w.data.byte()
		if w.inst.bad || w.data.bad || n > w.end-len(w.out) {
			return false
		}
		for range n {
			w.out = append(w.out, fill)
		}
		return true
	case c < codeCopy:
		n := c - codeAdd
		if n == 0 {
			n = w.inst.varint()
		}
		return w.add(n)
	case c < codeAddCopy:
		n, mode := (c-codeCopy)%16, (c-codeCopy)/16
		if n == 0 {
			n = w.inst.varint()
		} else {
			n += 3
		}
		return w.copy(n, mode)
	case c < codeAddCopy4:
		c -= codeAddCopy
		return w.add(c%12/3+1) && w.copy(c%3+4, c/12)
	case c < codeCopy4Add:
		c -= codeAddCopy4
		return w.add(c%4+1) && w.copy(4, modeSame+c/4)
	default:
		return w.copy(4, c-codeCopy4Add) && w.add(1)
	}
}

func (w *windowState) add(n int) bool {
	if w.inst.bad || n > w.end-len(w.out) {
		return false
	}
	w.out = append(w.out, w.data.section(n)...)
	return !w.data.bad
}

func (w *windowState) copy(n, mode int) bool {
	here := len(w.source) + len(w.out) - w.start
	address := 0
	switch {
	case mode == modeSelf:
		address = w.addr.varint()
	case mode == modeHere:
		address = here - w.addr.varint()
	case mode < modeSame:
		address = w.near[mode-modeNear] + w.addr.varint()
	default:
		address = w.same[(mode-modeSame)*256+int(w.addr.byte())]
	}
	if w.inst.bad || w.addr.bad || address < 0 || address >= max(here, 1) || n > w.end-len(w.out) {
		return false
	}
	w.near[w.slot] = address
	w.slot = (w.slot + 1) % nearSlots
	w.same[address%sameSlots] = address
	if address < len(w.source) {
		k := min(n, len(w.source)-address)
		w.out = append(w.out, w.source[address:address+k]...)
		address += k
		n -= k
	}
	if n > 0 && address >= len(w.source)+len(w.out)-w.start {
		return false
	}
	// The source of the rest is the target itself and may reach into what
	// this copy writes.
	for at := w.start + address - len(w.source); n > 0; n-- {
		w.out = append(w.out, w.out[at])
		at++
	}
	return true
}
