package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/sluicehq/sluice/broker"
)

// cast sends ephemeral events. It does so before the other events of the request are stored. If storing fails,
// the client repeats the request, and to receive an ephemeral event twice is the lesser harm.
func (r *request) cast(ctx context.Context, events []broker.Outgoing) error {
	if len(events) == 0 {
		return nil
	}
	caster, ok := r.api.opt.Log.(broker.Caster)
	if !ok {
		return fail(http.StatusUnprocessableEntity, "feature_disabled", "extras.ephemeral: this log stores all events")
	}
	return caster.Cast(ctx, r.app.ID, events...)
}

// apart separates events that are stored from ephemeral ones.
func apart(all []accepted, events []broker.Outgoing) (stored, casts []broker.Outgoing) {
	some := false
	for i := range all {
		some = some || all[i].ephemeral
	}
	if !some {
		return events, nil
	}
	for i := range all {
		a := &all[i]
		own := events[:len(a.channels)]
		events = events[len(own):]
		if !a.ephemeral {
			stored = append(stored, own...)
			continue
		}
		for _, e := range own {
			// Every frame of V2 has an id. An event with a repeated idempotency key gets the same id, by which
			// clients drop duplicates; gateways remember none for ephemeral events.
			named := *e.Event
			if named.MessageID == "" && named.DedupID != "" {
				named.MessageID = idOfKey(named.DedupID)
			} else if named.MessageID == "" {
				named.MessageID = rand.Text()
			}
			casts = append(casts, broker.Outgoing{Channel: e.Channel, Event: &named})
		}
	}
	return stored, casts
}

// spread extends receipts to one for each event and channel, with an empty one for ephemeral events.
func spread(all []accepted, receipts []broker.Receipt) []broker.Receipt {
	var out []broker.Receipt
	for i := range all {
		a := &all[i]
		if n := len(a.channels); a.ephemeral {
			out = append(out, make([]broker.Receipt, n)...)
		} else {
			out, receipts = append(out, receipts[:n]...), receipts[n:]
		}
	}
	return out
}

// idOfKey returns the message id for an idempotency key, the same on all gateways.
func idOfKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
