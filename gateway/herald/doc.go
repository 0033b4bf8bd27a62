// Package herald tells applications and connections of changes of members.
//
// The roster knows the changes in a channel in the whole cluster. Applications want webhooks: the gateway whose
// seat caused the change must send one, so the roster calls [Herald.Tell]. Connections want frames: a [Roll]
// follows one channel and makes news of members and of subscription counts for its [Audience], and [Watchlists]
// follow users for the connections that watch them.
//
// The package is between presence, which knows the changes, and the queues of webhook, which deliver them. It
// knows neither connections nor frames, and never waits for a socket or an address.
package herald
