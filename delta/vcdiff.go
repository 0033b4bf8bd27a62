package delta

// The default code table of RFC 3284, section 5.6.
const (
	codeAdd      = 1   // 1: size follows, 2 to 18: 1 to 17 bytes
	codeCopy     = 19  // and 16 per address mode: size follows, then 4 to 18 bytes
	codeAddCopy  = 163 // and 12 per mode below 6: add 1 to 4, copy 4 to 6 bytes
	codeAddCopy4 = 235 // and 4 per mode from 6: add 1 to 4, copy 4 bytes
	codeCopy4Add = 247 // and the mode: copy 4 bytes, add 1

	modeSelf = 0 // the address itself
	modeHere = 1 // the distance back from the place of writing
	modeNear = 2 // the distance from one of the last four addresses
	modeSame = 6 // one of the last addresses with that remainder

	nearSlots = 4
	sameSlots = 3 * 256
)

// vcdiffMagic begins a delta: version 0 and no Hdr_Indicator bit.
const vcdiffMagic = "\xd6\xc3\xc4\x00\x00"

// AppendVCDIFF appends the delta that turns base into target, in the profile of RFC 3284 that protocol
// section 3.17 allows, to dst, and returns the extended slice. The delta has no checksum, so a wrong base
// cannot be noticed. In all else it is like [Encoder.AppendFossil].
func (e *Encoder) AppendVCDIFF(dst, base, target []byte) []byte {
	if len(base) > MaxText || len(target) > MaxText {
		return dst
	}
	m := &e.m
	m.match(base, target, vcdiffTariff)
	literal := e.instructions(len(base), len(target))

	dst = append(dst, vcdiffMagic...)
	if len(m.runs) > 0 {
		dst = append(dst, 1) // VCD_SOURCE: the whole base
		dst = appendVarint(dst, len(base))
		dst = append(dst, 0)
	} else {
		dst = append(dst, 0)
	}
	rest := varintSize(len(target)) + 1 + varintSize(literal) + varintSize(len(e.inst)) + varintSize(len(e.addr)) +
		literal + len(e.inst) + len(e.addr)
	dst = appendVarint(dst, rest)
	dst = appendVarint(dst, len(target))
	dst = append(dst, 0) // Delta_Indicator: nothing is compressed again
	dst = appendVarint(dst, literal)
	dst = appendVarint(dst, len(e.inst))
	dst = appendVarint(dst, len(e.addr))
	at := 0
	for _, r := range m.runs {
		dst = append(dst, target[at:r.at]...)
		at = r.end()
	}
	dst = append(dst, target[at:]...)
	dst = append(dst, e.inst...)
	return append(dst, e.addr...)
}

// instructions fills the instruction and the address section and returns the
// size of the data section.
func (e *Encoder) instructions(base, target int) (literal int) {
	inst, addr := e.inst[:0], e.addr[:0]
	var near [nearSlots]int
	// lone is true when the last instruction is a copy of four bytes, which can include an add of one byte at
	// no cost.
	at, slot, lone := 0, 0, false
	for _, r := range e.m.runs {
		mode, value := modeSelf, r.from
		size := varintSize(value)
		for i, a := range near {
			if d := r.from - a; d >= 0 && varintSize(d) < size {
				mode, value, size = modeNear+i, d, varintSize(d)
			}
		}
		if d := base + r.at - r.from; varintSize(d) < size {
			mode, value = modeHere, d
		}
		near[slot] = r.from
		slot = (slot + 1) % nearSlots
		addr = appendVarint(addr, value)

		add := r.at - at
		literal += add
		at = r.end()
		if add >= 1 && add <= 4 && r.n >= 4 && r.n <= 6 {
			inst = append(inst, byte(codeAddCopy+12*mode+3*(add-1)+r.n-4))
			lone = false
			continue
		}
		if add > 0 {
			inst = appendAdd(inst, add, lone)
		}
		if r.n >= 4 && r.n <= 18 {
			inst = append(inst, byte(codeCopy+16*mode+r.n-3))
		} else {
			inst = appendVarint(append(inst, byte(codeCopy+16*mode)), r.n)
		}
		lone = r.n == 4
	}
	if add := target - at; add > 0 {
		literal += add
		inst = appendAdd(inst, add, lone)
	}
	e.inst, e.addr = inst, addr
	return literal
}

func appendAdd(inst []byte, n int, lone bool) []byte {
	switch {
	case n == 1 && lone:
		last := &inst[len(inst)-1]
		*last = codeCopy4Add + (*last-codeCopy)/16
		return inst
	case n <= 17:
		return append(inst, byte(codeAdd+n))
	}
	return appendVarint(append(inst, codeAdd), n)
}

// appendVarint appends v in base 128, most significant digit first (RFC 3284,
// section 2).
func appendVarint(dst []byte, v int) []byte {
	if v < 1<<7 {
		return append(dst, byte(v))
	}
	for shift := 7 * (varintSize(v) - 1); shift > 0; shift -= 7 {
		dst = append(dst, byte(v>>shift)|0x80)
	}
	return append(dst, byte(v)&0x7f)
}
