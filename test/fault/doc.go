// Package fault breaks things on purpose.
//
// [Proxy] stands between a client and a server and cuts, stalls, delays, half-opens or
// resets what goes through it. It never changes bytes, and it ends every goroutine that
// it started. [BuildWithOwnClock] makes a program whose clock is wrong, and [Seeds] repeats
// a test with other victims and moments, each of which can be had again.
package fault
