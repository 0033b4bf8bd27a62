// Package rawio reads and writes TCP connections without notifying the scheduler.
//
// The runtime is normally notified before and after a system call, because the call may block. If all
// goroutines were idle before, that wakes a thread which watches such calls while there is work: with a few
// hundred events a second it wakes up and goes to sleep several times per event. Reading available bytes and
// writing into free buffer space does not block, so no notification is needed. If a call would block, the
// goroutine waits in the usual way.
//
// The package keeps no bytes of a caller after a call, and never closes a connection.
package rawio
