// Package memory is the log in the memory of one process: the reference
// implementation of [broker.Log], and what a server runs on that needs no
// history across restarts and no second node.
//
// It promises what the contracts of package broker say, exactly and at once: a
// publication is readable and on its way to the sinks when Publish returns, no
// position is ambiguous, and publications of a channel disappear oldest first.
// Offsets come from one counter per app, so the offsets of one channel have
// gaps, as they have in JetStream. Each app has its own epoch, drawn at random
// when the app is added.
//
// Everything is bounded. Retention has a limit of messages per channel, an age
// and a size per app; a channel that holds nothing and that nobody is attached
// to costs nothing. A sink that is slower than its publishers is not queued for
// without end: its attachment falls back to reading the retained log, and tells
// a [broker.Gap] if retention was faster. Publishing never waits for a sink.
//
// It never writes to a disk and never talks to another process: when the
// process ends, the log is gone, and the next one has other epochs.
package memory
