package gateway

import "testing"

// TestRun01AStreamThatComesLateIsToldOf: a wait for the end of all requests does not wait for streams, even
// for one that begins meanwhile.
func TestRun01AStreamThatComesLateIsToldOf(t *testing.T) {
	var e errands
	through := e.through()
	end := e.begin(true)
	defer end()
	select {
	case <-through:
	default:
		t.Error("nothing but a stream is left, and nobody was told")
	}
}
