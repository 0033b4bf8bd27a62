package delta

import "errors"

// What decoders return, wrapped with what they know. All mean that there is no
// target; a receiver that gets one asks for the full text.
var (
	// ErrMalformed: the delta is not what its format demands, or names bytes
	// that the base does not have.
	ErrMalformed = errors.New("malformed delta")
	// ErrChecksum: the delta is well formed, but the text that it builds is
	// not the one it was made for. Nearly always the base is the wrong one.
	ErrChecksum = errors.New("bad delta checksum")
	// ErrTooLarge: the target would be larger than the limit of the caller.
	ErrTooLarge = errors.New("delta target too large")
	// ErrUnsupported: the delta uses a feature of VCDIFF that protocol section
	// 3.17 excludes, because the public decoders do not know it.
	ErrUnsupported = errors.New("unsupported delta feature")
)
