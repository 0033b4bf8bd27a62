// Package memory is the log in the memory of one process. It is the reference implementation of [broker.Log],
// and the backend of servers that need neither history across restarts nor a second node.
//
// It fulfills the contracts of package broker exactly and at once: when Publish returns, the publication is
// readable and on its way to the sinks; no position is ambiguous; publications of a channel disappear oldest
// first. Offsets come from one counter per app, so the offsets of one channel have gaps, as in JetStream.
// Each app has its own epoch, drawn at random when the app is added.
//
// Everything is bounded. Retention has a limit of messages per channel, an age, and a size per app; a channel
// without publications and attachments costs nothing. The queue of a slow sink is bounded too: its attachment
// falls back to reading the retained log, and reports a [broker.Gap] if retention was faster. Publishing
// never waits for a sink.
//
// It never writes to a disk and never talks to another process: when the
// process ends, the log is gone, and the next one has other epochs.
package memory
