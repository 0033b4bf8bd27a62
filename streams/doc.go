// Package streams is the log on NATS JetStream.
//
// One stream per app holds the events of all its channels. An event is published to the subject of its channel,
// `ch.APP.CHANNEL`. The server stores it and republishes it on the live subject `rt.APP.CHANNEL`, with its sequence and
// that of the previous event of the channel in headers. A gateway has one core subscription per channel that it
// follows, and no JetStream consumers for channels. History and repair use direct gets.
//
//	publisher ─► stream ─► live subject ─► feed shard ─► follower ─► sinks
//	                └──── direct get ◄──── repair, attach, history
//
// The package promises: a sink gets every stored event of its channel above its position, once and in order, or a gap
// that says what is missing. Events that are lost on the live subject (when a leader changes, a connection breaks or a
// queue is full) are read from the log before anything later is delivered. An incomplete answer is an error. The package
// never trusts a header that a publisher can set, never blocks publishers with a large read, and never gives up a
// connection for good.
//
// Headers of an event: every publisher may set Event, Tags (a JSON object), Conflation-Key, Delta, Exclude-Socket and
// Nats-Msg-Id. User-Id, Message-Id, Extras, Node and Origin belong to gateways. Other publishers can write them, too, so
// they count only with a valid Proof.
package streams
