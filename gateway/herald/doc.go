// Package herald tells applications and connections who comes and goes.
//
// The roster knows what changes in a channel, in the whole cluster, and tells two kinds of
// listeners. Applications want webhooks: the gateway whose seat made the difference owes
// one, so the roster calls [Herald.Tell]. Connections want frames: a [Roll] follows one
// channel and makes news of members and of numbers of subscriptions for its [Audience],
// and [Watchlists] follow users for those who watch them.
//
// It stands between presence, which knows, and the queues of webhook, which deliver. It
// does not know what a connection or a frame is. What it never does: wait for a socket or
// for an address.
package herald
