package gateway

import (
	"context"

	"github.com/sluicehq/sluice/gateway/app"
)

// Apply applies the current content of the registry of apps, and the limits of connections, to what exists
// already. New requests and connections use the registry in any case. Connections of removed apps are closed
// with 4001, those of disabled apps with 4003, and no others. Apply must not be called concurrently. It
// returns when everything is in force or ctx is done.
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
