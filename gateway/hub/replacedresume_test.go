package hub

import (
	"context"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// heldHistory returns nothing from After before it is released.
type heldHistory struct {
	broker.History
	release chan struct{}
}

func (h *heldHistory) After(ctx context.Context, app, channel string, pos broker.Position, limit int) (*broker.Page, error) {
	select {
	case <-h.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return h.History.After(ctx, app, channel, pos, limit)
}

// TestRE06EachResumeTellsOfAllItsChannels: a resume in progress fails when another one of the same channel
// comes, and says so. The other one goes on. Nothing is said of a subscription that has ended.
func TestRE06EachResumeTellsOfAllItsChannels(t *testing.T) {
	begin := func(t *testing.T) (p *peer, first broker.Receipt, release func()) {
		held := &heldHistory{release: make(chan struct{})}
		r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
			held.History, o.History = o.History, held
			a.Delta.Enabled = false // so that the history is not read for bases
		})
		first = r.publish("orders", "tick", "1")
		r.publishMany("orders", 2, 5)
		p, _ = r.second()
		p.join("orders", "")
		p.from("orders", first.Epoch, first.Offset, "")
		return p, first, func() { close(held.release) }
	}
	t.Run("another resume", func(t *testing.T) {
		p, first, release := begin(t)
		p.from("orders", first.Epoch, first.Offset+1, "")
		p.resumeFails("continuity_unverifiable", first.Epoch)
		release()
		if got := p.events(3); got[0] != "3" {
			t.Errorf("the second resume brings %v", got)
		}
		p.summaryOf(1, 0)
	})
	t.Run("unsubscribed", func(t *testing.T) {
		p, _, release := begin(t)
		p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"orders"}}`)
		p.summaryOf(0, 0)
		release()
	})
}
