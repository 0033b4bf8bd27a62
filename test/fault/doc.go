// Package fault causes faults for tests.
//
// [Proxy] stands between a client and a server and cuts, stalls, delays, half-opens or resets connections. It
// never changes bytes, and it ends every goroutine that it started. [BuildWithOwnClock] makes a program with
// a wrong clock, and [Seeds] repeats a test with other victims and moments, each of which can be reproduced.
package fault
