package gateway

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/gateway/lives"
)

// openLives puts the record of purged and reset channels between the log and all its users.
func (n *Node) openLives(in *intake) error {
	if n.opt.Table == nil {
		return nil
	}
	err := patiently(func(ctx context.Context) (err error) {
		n.lives, err = lives.New(ctx, n.opt.Log, n.opt.Table, func() int { return len(n.opt.Apps.IDs()) }, n.opt.Logger)
		return err
	})
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	log := n.lives.Broker()
	n.opt.Log, in.Log, n.opt.Hub.Feed, n.opt.Hub.History = log, log, log, log
	return nil
}

func (n *Node) closeLives() {
	if n.lives != nil {
		_ = n.lives.Close()
	}
}
