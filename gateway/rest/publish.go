package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// nothing is the answer to a publish without info.
var nothing any = struct{}{}

// publishEvent serves POST /apps/ID/events.
func (r *request) publishEvent() (any, error) {
	var in input
	if err := decodeEvent(r.body, &r.app.Limits, &in); err != nil {
		return nil, err
	}
	header, err := r.headerKey()
	if err != nil {
		return nil, err
	}
	all := make([]accepted, 1)
	ev := &all[0]
	if err := in.accept(r.api.opt.Node, r.app, header, ev); err != nil {
		return nil, err
	}
	detach(len(r.body), 1, ev.event)
	if ev.receipts, err = r.store(all, outgoing(nil, ev, "e")); err != nil {
		return nil, err
	}
	if !ev.info.any() {
		return nothing, nil
	}
	return map[string]any{"channels": r.newTally().of(ev)}, nil
}

// publishBatch serves POST /apps/ID/batch_events.
func (r *request) publishBatch() (any, error) {
	sent, err := decodeBatch(r.body, &r.app.Limits)
	if err != nil {
		return nil, err
	}
	header, err := r.headerKey()
	if err != nil {
		return nil, err
	}
	limit := r.app.Limits.MaxBatchSize
	switch {
	case sent.count == 0:
		return nil, invalid("batch is missing or empty")
	case sent.count > limit:
		return nil, exceeded(limitBatch, "batch has %d events, the limit is %d", sent.count, limit)
	}
	batch := sent.events
	out := make([]broker.Outgoing, 0, len(batch))
	all := make([]accepted, len(batch))
	info := false
	for i := range batch {
		one, ev := &batch[i], &all[i]
		if one.Channels != nil {
			return nil, invalid("batch[%d]: an event of a batch has one channel, not channels", i)
		}
		if err := one.accept(r.api.opt.Node, r.app, header, ev); err != nil {
			if f, ok := err.(*failure); ok {
				return nil, crossed(f.limit, f.Status, f.Code, "batch[%d]: %s", i, f.Message)
			}
			return nil, err
		}
		detach(len(r.body), len(batch), ev.event)
		// The header belongs to the whole request, so the index of the event makes its key unique.
		scope := "e"
		if one.IdempotencyKey == nil && header != "" {
			scope = "b" + strconv.Itoa(i)
		}
		out = outgoing(out, ev, scope)
		info = info || ev.info.any()
	}
	receipts, err := r.store(all, out)
	if err != nil {
		return nil, err
	}
	if !info {
		return nothing, nil
	}
	answers := make([]any, len(all))
	t := r.newTally()
	for i := range all {
		ev := &all[i]
		ev.receipts = receipts[i : i+1]
		answers[i] = t.of(ev)[ev.channels[0]]
	}
	return map[string]any{"batch": answers}, nil
}

// headerKey returns the idempotency key of the whole request, empty if there is none.
func (r *request) headerKey() (string, error) {
	values := r.http.Header.Values("X-Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	limit := r.app.Limits.IdempotencyKey()
	if key := values[0]; key != "" && len(key) <= limit {
		return key, nil
	}
	return "", invalid("X-Idempotency-Key has %d bytes, must be 1 to %d", len(values[0]), limit)
}

// outgoing appends the event for each of its channels. The log has one id for each stored event, so the
// idempotency key is extended by the channel.
func outgoing(out []broker.Outgoing, a *accepted, scope string) []broker.Outgoing {
	out = slices.Grow(out, len(a.channels))
	for _, c := range a.channels {
		ev := a.event
		if ev.DedupID != "" {
			own := *ev
			own.DedupID = fmt.Sprintf("key/%s/%s/%s", scope, name.Key(ev.DedupID), name.Key(c))
			ev = &own
		}
		out = append(out, broker.Outgoing{Channel: c, Event: ev})
	}
	return out
}

// spareBody is how many bytes of a body may be kept without being data of its events.
const spareBody = 4 << 10

// detach copies the data of an event if it is a small part of the body. The log may keep one event longer than
// the others, and counts only the bytes of the event, not of the whole body.
func detach(body, events int, ev *broker.Event) {
	if body > spareBody+4*events*(len(ev.Data)+len(ev.Extras)) {
		ev.Data, ev.Extras = bytes.Clone(ev.Data), bytes.Clone(ev.Extras)
	}
}

// store publishes events, and sends those that are ephemeral. events are the events of all, in the same order,
// for each channel. A client that disconnects does not interrupt it.
func (r *request) store(all []accepted, events []broker.Outgoing) ([]broker.Receipt, error) {
	if err := r.take(r.api.bucketsOf(r.app).events, limitEvents, "events", len(events)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.api.opt.PublishTimeout)
	defer cancel()
	stored, casts := apart(all, events)
	if err := r.cast(ctx, casts); err != nil {
		return nil, err
	}
	var receipts []broker.Receipt
	if len(stored) > 0 {
		var err error
		if receipts, err = r.publish(ctx, stored); err != nil {
			return nil, err
		}
	}
	if len(casts) > 0 {
		receipts = spread(all, receipts)
	}
	r.events = len(events)
	return receipts, nil
}

var _ http.Handler = (*API)(nil)

// publish publishes events to the log, as a step of the trace.
func (r *request) publish(ctx context.Context, events []broker.Outgoing) ([]broker.Receipt, error) {
	if r.span == nil {
		return r.api.opt.Log.Publish(ctx, r.app.ID, events...)
	}
	step := r.span.Step("store")
	receipts, err := r.api.opt.Log.Publish(ctx, r.app.ID, events...)
	step.End(0, len(events), err)
	return receipts, err
}
