// Package fanout gives what is published in a channel to the sockets that have subscribed.
//
// A [Hall] is what all have in common, and has the shards. A [Line] is what goes to the
// subscribers of one channel: the owner of the channel makes an [Event] of each publication,
// has [Bases] say what deltas of it may start from, and posts it. Each [Shard] has a
// goroutine, which puts the right frame of it into the outbox of each of its [Subscribers]
// and writes them. A frame is built at most once per publication and form, and shared by all
// sockets. A subscription that is not live yet is on its [Way] through the past, which a
// [Source] has.
//
//	Line.Post ─► Shard 0..n ─► Subscribers ─► outbox of each socket
//
// What it promises: the frames of one channel reach a socket in log order, each once, none
// missing from the middle; a delta is sent only to a socket that holds its base; a socket
// that falls behind hurts nobody else. It never reads a log, keeps no state per socket and
// key, and knows nothing of connections, sign-in or limits.
package fanout
