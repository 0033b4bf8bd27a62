// Package redis is the log on Redis, on one server or on a Redis Cluster, with the
// table of cluster state (package kv) and the queues of work (package broker) beside
// it.
//
// It implements the interfaces of package broker and passes the suite in
// broker/brokertest. A channel is one Redis stream and one hash, in the same slot; a
// publish is one script that numbers the events, counts them for the full message
// interval, appends them and announces them, so that number, count and entry cannot
// disagree. Live events come by pub/sub, sharded on a cluster. What was announced and
// did not arrive is read from the stream before anything later is delivered; what
// cannot be had becomes a Gap of package broker.
//
// Each entry names the offset before it, which is the proof of completeness: offsets
// rise by one within a run of the server, begin at the server's time in microseconds,
// and jump there when another run of a server finds the channel. So an offset that a
// server lost is never given to another event, and a position that was lost is
// refused.
//
// Its promises are weaker than those of the JetStream log, and no setting makes them
// equal:
//
//   - An acknowledged event can be lost. Redis replicates asynchronously, so a
//     failover may bring back a log without its tail; what survives the end of a
//     single server is a matter of its persistence settings. A loss is noticed by
//     every gateway that follows the channel or has acknowledged what is gone (it
//     remembers some thousands of channels for less than a place lives, and looks when a
//     connection for live messages broke, a server began anew or another one took over), and
//     begins a new epoch of the app: attached channels get a Gap, and positions of before are refused. When nobody alive knows, a position that was
//     lost is still refused while the log has what was stored next.
//   - Offsets are not repeated as long as a channel has fewer than a million events a
//     second and the clocks of the servers do not differ by more than a failover takes.
//   - A script that fails half way is not rolled back. Everything that can be refused
//     is therefore checked before the first write.
//   - An event that a third party sends with a plain PUBLISH is not in the log. It is
//     refused, counted, and not delivered. Who may publish to the live channels of
//     Redis may forge live messages, though; keep the server to the gateways.
//   - On a cluster an id for duplicates holds per channel at once, and across channels
//     of the app from a moment later.
//   - What is too old goes when something is published to its channel, or with the newest
//     event of it: it may be read for longer until then. There is no bound of
//     bytes per app.
//   - All channels are in RAM, and cost more of it than in JetStream.
//   - The conflation values that are counted per channel are capped: beyond the cap all
//     counts of the channel start again.
//   - On a cluster the table of cluster state is on one master.
//   - While a slot of a cluster moves, its channels take no events; publishes wait for
//     the end of it as long as they may.
//
// It never falls back to another log, and never serves a server of the other kind
// than it was told.
package redis
