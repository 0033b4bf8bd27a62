package gateway

import "testing"

// TestRun01AStreamThatComesLateIsToldOf: who waits for requests to end waits for no stream, also
// not for one that begins meanwhile.
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
