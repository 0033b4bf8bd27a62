// Package redis is the place of the log on Redis.
//
// The adapter is not part of this release: the package holds no code, and
// choosing it in the configuration stops the start with an error that says so.
// There is no fallback to another log behind the operator's back. What follows
// is what the adapter will promise when it comes, written down first because it
// decides who should wait for it.
//
// It will implement the interfaces of package broker and pass the suite in
// broker/brokertest. A channel is one Redis stream and one hash, kept in the
// same slot; a publish is one script that numbers the event, counts it for the
// full message interval, appends it and announces it, so that the number, the
// count and the entry cannot disagree. Offsets are contiguous within a channel,
// not only rising. A hole in what was announced is filled by reading the
// stream; what cannot be filled becomes a Gap of package broker, as everywhere.
//
// Its promises will be weaker than those of the JetStream log, and no setting
// makes them equal:
//
//   - An acknowledged event can be lost. Redis replicates asynchronously, so a
//     failover may bring back a log without its tail, and give the lost offsets
//     to other events. The adapter will notice by comparing epoch and newest
//     offset after each reconnect, and begin a new epoch; it cannot bring the
//     events back. What survives the end of a single server is a matter of that
//     server's persistence settings.
//   - A script that fails half way is not rolled back. Everything that can be
//     refused is therefore checked before the first write.
//   - An event that a third party sends with a plain PUBLISH is not in the log,
//     has no number, and is not delivered. Publishing past the HTTP API, which
//     JetStream allows to anybody with the permission, needs the script.
//   - Retention by number is approximate, and age applies to a channel as a
//     whole, from its newest event.
//   - Channels cost more memory: about 4 KB for a channel with a single entry,
//     against less than 300 bytes in JetStream, and all of it is RAM.
//   - The number of conflation values that are counted per channel is capped in
//     Redis itself. Counts travel with the events, so gateways agree without
//     checkpoints.
package redis
