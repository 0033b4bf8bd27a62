package delta

// MaxText is the size in bytes of the largest base and target that an [Encoder] accepts. Frames are far
// smaller; the formats are limited to twice that.
const MaxText = 1<<30 - 1

// Encoder makes deltas in both formats with one search for common text. The zero value is ready to use. It
// may be reused, by one goroutine at a time, and then does not allocate; it keeps at most half a megabyte for
// its index and 24 bytes per copy of the largest delta so far. It never keeps a reference to a base, a target
// or a delta.
type Encoder struct {
	m matcher
	// inst and addr are two sections of the VCDIFF window that is being made.
	inst, addr []byte
}
