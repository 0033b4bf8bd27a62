// Package count decides which publications of a channel go out in full, together with
// the other gateways of a cluster.
//
// [Interval] turns the ordered log of a channel into that decision: whoever feeds it the
// same log gets the same decisions. It is pure: no I/O, no clock, no goroutine.
package count
