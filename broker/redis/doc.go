// Package redis is the log on one Redis server or a Redis Cluster. It also implements the table of cluster
// state (package kv) and the work queues (package broker).
//
// It implements the interfaces of package broker and passes the suite in broker/brokertest. A channel is one
// Redis stream and one hash in the same slot. A publish is one script that numbers the events, counts them
// for the full message interval, appends and announces them, so that number, count and entry cannot disagree.
// Live events come by pub/sub, sharded on a cluster. An announced event that did not arrive is read from the
// stream before anything later is delivered; if that is impossible, a Gap of package broker is reported.
//
// Each entry names the offset before it, which proves completeness: offsets rise by one within a run of the
// server, begin at the server's time in microseconds, and jump to that time when another run of a server
// finds the channel. So an offset that a server lost is never given to another event, and a lost position is
// refused.
//
// Its guarantees are weaker than those of the JetStream log, and no setting makes them equal:
//
//   - An acknowledged event can be lost. Redis replicates asynchronously, so after a failover the log
//     may lack its last events; what survives the end of a single server depends on its persistence
//     settings. Every gateway that follows the channel or has acknowledged a lost event notices the
//     loss and begins a new epoch of the app: attached channels get a Gap, and older positions are
//     refused. (A gateway remembers some thousands of acknowledged channels for less than the life of a
//     place, and checks them when a connection for live messages broke, a server restarted or another
//     one took over.) If no running gateway knows of the loss, a lost position is still refused as long
//     as the log has the event that was stored next.
//   - Offsets are not repeated as long as a channel has fewer than a million events a second and the
//     clocks of the servers do not differ by more than a failover takes.
//   - A script that fails half way is not rolled back. Everything that can be refused is therefore
//     checked before the first write.
//   - An event that a third party sends with a plain PUBLISH is not in the log. It is refused, counted,
//     and not delivered. Anyone who may publish to the live channels of Redis can forge live messages,
//     though; give only gateways access to the server.
//   - On a cluster an id for duplicates takes effect at once within its channel, and a moment later
//     across the channels of the app.
//   - Expired events are removed when something is published to their channel, or together with its
//     newest event; until then they may be read. There is no bound of bytes per app.
//   - All channels are in RAM, and cost more of it than in JetStream.
//   - The number of conflation values counted per channel is limited: beyond the limit all counts of
//     the channel start again.
//   - On a cluster the table of cluster state is on one master.
//   - While a slot of a cluster moves, its channels take no events; publishes wait for the end of the
//     move within their timeout.
//
// It never falls back to another log, and never uses a server of another kind than configured.
package redis
