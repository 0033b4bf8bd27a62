// Package hub holds the connections of one gateway, WebSockets and event streams, and sends each of
// them what it needs.
//
// A channel has one owner at a time, the goroutine of the feed, which numbers
// publications, picks delta bases and gives them to the subscribers (package
// fanout). A connection belongs to one shard for life, whose goroutine writes it;
// what a client asks for is done by the goroutine that reads the connection.
//
//	feed ─► Channel (owner) ─► fanout ─► outbox of each socket ─► kernel
//
// What it promises: the frames of one channel reach a socket in log order, each
// once, none missing from the middle; a delta is sent only to a socket that
// holds its base; a socket that does not read is closed with 4100 and hurts
// nobody else. What it never does: block on a socket, keep state per socket and
// key, or deliver what is not in the log.
//
// The order of its locks, and what may be done under each, stands in
// docs/architecture.md.
package hub
