// Package presence knows who is in a channel, on all gateways.
//
// Nobody is asked. Each gateway writes what concerns itself into a [kv.Table]: a seat
// for each user that it has in a channel, and one with the number of its
// subscriptions. Gateways that serve the channel follow the seats and fold them, so
// that all come to the same members ([Fold]). A user is in from the first connection
// that joins, on any gateway, until the last one leaves.
//
// A gateway holds a lease, which it renews. When it has ended, another gateway
// declares the dead one buried, once, which removes its seats everywhere; whatever
// webhooks the dead one owed are told by who buried it. A gateway that was buried
// alive, because it was cut off, takes its seats anew.
//
// What it never does: keep a consumer or a watch of its own per channel on the
// server, wait for the table in the path of an event, or decide by comparing the
// clocks of two machines. See protocol sections 1.9, 1.11 and 2.5.
package presence
