// Package fault breaks things on purpose.
//
// [Proxy] stands between a client and a server and cuts, stalls, delays, half-opens or
// resets what goes through it. It never changes bytes, and it ends every goroutine that
// it started.
package fault
