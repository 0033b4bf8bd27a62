// Package presence knows who is in a channel, on all gateways.
//
// Gateways do not query each other, except for the numbers that [Total] must be certain of. Each gateway
// writes its own state into a [kv.Table]: a seat for each user that it has in a channel, and one with the
// number of its subscriptions. Gateways that serve the channel follow the seats and fold them, so that all
// get the same members ([Fold]). A user is a member from the first connection that joins, on any gateway,
// until the last one leaves.
//
// One record, the register, names the gateways that count. It is replaced and never removed, because a store
// that recovers may bring back what a removed record covered. Seats of gateways that are not in it are void.
// A gateway renews a lease to show that it is alive. When the lease has ended, another gateway declares it
// dead ("buries" it) in the register, once, and tells the webhooks that the dead gateway owed. A gateway that
// was buried although it was only cut off enters again and takes its seats again.
//
// The package never keeps a consumer or a watch per channel on the server, never waits for the table in the
// path of an event, and never compares the clocks of two machines to decide. See protocol sections 1.9, 1.11
// and 2.5.
package presence
