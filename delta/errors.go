package delta

import "errors"

// Errors of decoders, which wrap them with details. After any of them there is no target; the receiver should
// request the full text.
var (
	// ErrMalformed: the delta violates its format, or names bytes that the base does not have.
	ErrMalformed = errors.New("malformed delta")
	// ErrChecksum: the delta is well-formed, but the resulting text is not the intended one. Nearly always
	// the base is the wrong one.
	ErrChecksum = errors.New("bad delta checksum")
	// ErrTooLarge: the target would be larger than the limit of the caller.
	ErrTooLarge = errors.New("delta target too large")
	// ErrUnsupported: the delta uses a feature of VCDIFF that protocol section
	// 3.17 excludes, because the public decoders do not know it.
	ErrUnsupported = errors.New("unsupported delta feature")
)
