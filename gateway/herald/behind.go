package herald

import (
	"context"
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// behind emits an event that a subscriber of this gateway has caused, after the event that reports the channel
// as occupied.
func (r *Roll) behind(ctx context.Context, e webhook.Event) {
	if !r.herald.wants(r.app, e.Name) {
		return
	}
	if room := r.room.Load(); room != nil {
		room.Behind(ctx, func() { r.herald.emit(r.app, e) })
		return
	}
	r.herald.emit(r.app, e)
}

// ClientEvent emits a client event that is stored at a position of the log. It waits until the channel was
// reported as occupied.
func (r *Roll) ClientEvent(ctx context.Context, socketID string, ev *broker.Event, at broker.Receipt) {
	r.behind(ctx, webhook.Event{
		ID:   webhook.ClientEvent + "/" + r.channel + "/" + at.Epoch + "/" + strconv.FormatUint(at.Offset, 10),
		Name: webhook.ClientEvent, Channel: r.channel, Event: ev.Name, Data: string(ev.Data), SocketID: socketID, UserID: ev.UserID,
	})
}

// Misses records that a cache channel was found empty, and reports whether the caller must call [Roll.Missed].
// last is the offset of the last event that the channel kept. It does not block.
func (r *Roll) Misses(last uint64) bool {
	return r.roster != nil && r.herald.wants(r.app, webhook.CacheMiss) && r.missed.Swap(last+1) != last+1
}

// Missed reports once, over all gateways, that a cache channel is empty. It waits for the table.
func (r *Roll) Missed(ctx context.Context, epoch string, last uint64) {
	log := r.herald.opt.Logger
	period := epoch + "/" + strconv.FormatUint(last, 10)
	first, err := r.roster.Claim(ctx, r.app.ID, r.channel, webhook.CacheMiss, period)
	switch {
	case err == nil:
	case first:
		// This gateway may have won the claim. Ids make a duplicate harmless; otherwise nobody might report it.
		r.herald.said.Warn(log, "unsure miss/"+r.app.ID, "a cache miss is told without knowing whether another gateway does", "app", r.app.ID, "channel", r.channel, "error", err)
	default:
		r.herald.said.Warn(log, "lost miss/"+r.app.ID, "a cache miss could not be told; the next one is", "app", r.app.ID, "channel", r.channel, "error", err)
		r.missed.CompareAndSwap(last+1, 0)
	}
	if first {
		r.behind(ctx, webhook.Event{ID: webhook.CacheMiss + "/" + r.channel + "/" + period, Name: webhook.CacheMiss, Channel: r.channel})
	}
}
