// Package fanout delivers the publications of channels to the sockets that have subscribed.
//
// A [Hall] has what all channels share, and the shards. A [Line] leads to the subscribers of one channel: the
// owner of the channel makes an [Event] of each publication, has [Bases] choose from which bases its deltas
// may start, and posts it. Each [Shard] has a goroutine, which puts the right frame into the outbox of each
// of its [Subscribers] and writes the outboxes. A frame is built at most once per publication and form, and
// shared by all sockets. A subscription that is not live yet follows a [Way] through the past, which it gets
// from a [Source].
//
//	Line.Post ─► Shard 0..n ─► Subscribers ─► outbox of each socket
//
// The package promises: the frames of one channel reach a socket in log order, each once, and none is missing
// in the middle; a delta is sent only to a socket that holds its base; a socket that falls behind does not
// delay others. It never reads a log, keeps no copies of bases per socket, and knows nothing of connections,
// sign-in or limits.
package fanout
