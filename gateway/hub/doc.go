// Package hub holds the connections of one gateway, WebSockets and event streams, and sends each of them the
// events of its channels.
//
// A channel has one owner at a time, the goroutine of the feed, which numbers publications, chooses delta
// bases and hands the publications to the subscribers (package fanout). A connection belongs to one shard for
// life, whose goroutine writes to it. The goroutine that reads the connection handles the requests of its
// client.
//
//	feed ─► Channel (owner) ─► fanout ─► outbox of each socket ─► kernel
//
// The hub promises: the frames of one channel reach a socket in log order, each once, and none is missing in
// the middle; a delta is sent only to a socket that holds its base; a socket that does not read is closed
// with 4100 and does not delay others. The hub never blocks on a socket, keeps no copies of bases per socket,
// and delivers nothing that is not in the log except ephemeral events.
//
// docs/architecture.md has the order of its locks, and what may be done under each of them.
package hub
