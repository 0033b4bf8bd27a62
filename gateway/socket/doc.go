// Package socket is the write side of connections: frames that are shared, the queue of
// each socket, and the bytes that go to its descriptor.
//
// A [Frame] is bytes that somebody made, immutable and shared by any number of sockets.
// An [Outbox] is the queue of one [Socket], bounded by its [Kind]. A [Writer] belongs to a
// goroutine, its [Loop], and writes the outboxes of its sockets with one call that does not
// block for everything that is queued; a socket that takes no more is left to a goroutine
// of its own until it has taken everything. The [Group] of all sockets bounds what those that
// are behind hold together.
//
//	Push ─► Outbox ─► Loop ─► Writer.Flush ─► kernel
//
// What it promises: frames leave in the order in which they were queued, each once, none
// missing from the middle; queueing never waits for a socket; and a socket that does not
// read is closed after its kind's last frame. It knows nothing of what the frames say, of
// who gets them, or of how a peer reads them: what is WebSocket in them is in the package
// websocket below.
package socket
