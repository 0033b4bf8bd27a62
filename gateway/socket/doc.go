// Package socket is the write side of connections: shared frames, the queue of each socket, and the writes to
// its descriptor.
//
// A [Frame] is immutable bytes, shared by any number of sockets. An [Outbox] is the queue of one [Socket],
// bounded by its [Kind]. A [Writer] belongs to a goroutine, its [Loop], and writes everything that is queued
// for a socket with one call that does not block. A socket that takes no more is left to a goroutine of its
// own until it has taken everything. The [Group] of all sockets bounds what the slow ones hold together.
//
//	Push ─► Outbox ─► Loop ─► Writer.Flush ─► kernel
//
// The package promises: frames leave in the order in which they were queued, each once, and none is missing
// in the middle; queueing never waits for a socket; and a socket that does not read is closed after the last
// frame of its kind. It does not know what the frames say, who gets them, or how a peer reads them. Package
// websocket below has what is specific to WebSocket.
package socket
