// Package past has the recent past of channels for subscriptions that are behind: those that
// resume, rewind, or begin with a snapshot.
//
// A [Recent] is the past of one channel. It keeps what was delivered lately, and reads pages
// of the log below that and the newest event of each conflation value when somebody asks,
// in the background and once for all who wait; then it wakes their ways (package fanout,
// whose [fanout.Source] it is). A [Library] is what the pasts of all channels share.
//
// What it promises: what a way is given is complete and in the order of the log, or the way
// is told why it cannot be had; nothing is shown that readers may not see (package sight);
// what is kept has a bound, for one channel and for all; and each reading has one in time.
// It never waits under its lock, and sends nothing.
package past
