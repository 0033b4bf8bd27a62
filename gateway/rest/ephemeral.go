package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/sluicehq/sluice/broker"
)

// cast sends events that nobody keeps. It comes before the others of a request are stored: a
// request that fails is sent again, and to hear an ephemeral event twice is the lesser harm.
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

// apart tells the events that are stored from those that are not.
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
			// Every frame of V2 has an id. Who repeats a key repeats the id, by which clients
			// drop what they know; nobody else remembers it.
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

// spread gives every event of every channel a place among the receipts, an empty one to those that were not
// stored.
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

// idOfKey is the id of an event whose key is known, the same on all gateways.
func idOfKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
