//go:build !race

package delta_test

// raceEnabled makes counts smaller: the race detector slows the codecs down by
// a factor of ten or more.
const raceEnabled = false
