// Package past has the recent past of channels for subscriptions that are behind: those that resume, rewind,
// or begin with a snapshot.
//
// A [Recent] is the past of one channel. It keeps the publications that were delivered lately. When a
// subscription needs them, it reads older pages of the log, or the newest event of each conflation value. It
// reads in the background, once for all that wait, and then wakes their ways (package fanout, whose
// [fanout.Source] it is). A [Library] is what the pasts of all channels share.
//
// The package promises: what a way gets is complete and in log order, or the way is told why that is not
// available; nothing is shown that readers may not see (package sight); what is kept is bounded, for one
// channel and for all; and each reading has a time limit. It never waits under its lock, and sends nothing.
package past
