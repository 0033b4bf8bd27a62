// Package presence knows who is in a channel, on all gateways.
//
// Nobody is asked, but for what [Total] wants to be certain of. Each gateway writes what concerns itself into a [kv.Table]: a seat
// for each user that it has in a channel, and one with the number of its
// subscriptions. Gateways that serve the channel follow the seats and fold them, so
// that all come to the same members ([Fold]). A user is in from the first connection
// that joins, on any gateway, until the last one leaves.
//
// One record, the register, names the gateways that count. It is replaced and never
// removed, because a store that recovers may bring back what a removed record covered;
// seats of whoever is not in it are void. A gateway holds a lease as a sign of life. When
// it has ended, another gateway declares the dead one buried in the register, once, and
// tells whatever webhooks the dead one owed. A gateway that was buried alive, because it
// was cut off, enters again and takes its seats anew.
//
// What it never does: keep a consumer or a watch of its own per channel on the
// server, wait for the table in the path of an event, or decide by comparing the
// clocks of two machines. See protocol sections 1.9, 1.11 and 2.5.
package presence
