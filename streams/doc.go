// Package streams is the log on NATS JetStream.
//
// One stream per app holds the events of all its channels. A publish goes to the
// subject of the channel, `ch.APP.CHANNEL`; the server stores it and repeats it,
// with its sequence and that of the channel's previous event in headers, on the
// live subject `rt.APP.CHANNEL`. A gateway holds one core subscription per channel
// that it serves, and never a JetStream consumer. History and repair are direct
// gets.
//
//	publisher ─► stream ─► live subject ─► feed shard ─► follower ─► sinks
//	                └──── direct get ◄──── repair, attach, history
//
// What it promises: a sink gets every stored event of its channel above its
// position, once and in order, or a gap that says what is missing. What the live
// subject loses (a change of the leader, a reconnect, a full queue) is read from
// the log before anything later is delivered. An answer that is not complete is an
// error. What it never does: believe a header that a publisher can set, block a
// publisher with a large read, or give up a connection for good.
//
// Headers of an event: Event, Tags (JSON object), Conflation-Key, Delta,
// Exclude-Socket and Nats-Msg-Id may be set by anybody who publishes. User-Id,
// Message-Id, Extras and Origin are written by gateways; whoever may write to the
// publish subjects can set them too, so they say nothing about who did.
package streams
