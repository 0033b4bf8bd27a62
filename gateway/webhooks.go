package gateway

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// openHooks starts the delivery of webhooks. Without Work no app may have any.
func (n *Node) openHooks(port string) error {
	if n.opt.Work == nil {
		for _, id := range n.opt.Apps.IDs() {
			if len(n.opt.Apps.ByID(id).Webhooks) > 0 {
				return errors.New("gateway: apps with webhooks need Work")
			}
		}
		return nil
	}
	opt := n.opt.Webhooks
	opt.Apps, opt.Work, opt.Logger = n.opt.Apps, n.opt.Work, n.opt.Logger
	opt.Registry, opt.Prefix, opt.Port = n.opt.Registry, n.opt.MetricsPrefix, port
	opt.Tracer = n.opt.Tracer
	if n.opt.Descriptors != nil {
		opt.Dial = n.opt.Descriptors.Dial
	}
	var err error
	if n.hooks, err = webhook.New(opt); err != nil {
		return err
	}
	return nil
}

// herald creates the herald, which tells webhooks and connections of changes of members.
func (n *Node) herald() *herald.Herald {
	opt := herald.Options{Apps: n.opt.Apps, Node: n.opt.Name, Now: n.opt.Hub.Now, Logger: n.opt.Logger}
	if n.hooks != nil {
		opt.Hooks = n.hooks
	}
	return herald.New(opt)
}

func (n *Node) closeHooks(ctx context.Context) {
	if n.hooks != nil {
		n.hooks.Close(ctx)
	}
}
