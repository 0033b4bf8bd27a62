// Package rawio reads and writes TCP connections without telling the scheduler.
//
// The runtime is told of a system call before and after it, because it may block. Where all
// goroutines slept until now, that wakes a thread which watches over such calls, for as long as
// there is something to do: with a few hundred events a second it wakes, looks and sleeps again
// several times for each of them. Reading and writing what is there blocks nobody. Where there is
// nothing, the goroutine waits as it does otherwise.
//
// It never keeps bytes of a caller after a call, and never closes a connection by itself.
package rawio
