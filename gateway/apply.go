package gateway

import (
	"context"

	"github.com/sluicehq/sluice/gateway/app"
)

// Apply puts in force what the registry of apps says now, and limits of connections. Requests and
// new connections go by the registry in any case; this is for what is there already. Connections of
// apps that are not there any more are closed with 4001, those of disabled ones with 4003; nobody
// else's. It is for one goroutine at a time, and returns when all of it is in force or ctx is done.
func (n *Node) Apply(ctx context.Context, l app.PerConnection) error {
	n.http.begin(n.opt.Apps)
	n.rest.Apply()
	var err error
	if n.hooks != nil {
		err = n.hooks.Apply()
	}
	n.hub.Limit(l)
	n.hub.Apply(ctx)
	return err
}
