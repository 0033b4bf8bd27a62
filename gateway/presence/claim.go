package presence

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// claimFor is how long a claim is remembered.
const claimFor = 24 * time.Hour

// Claim reports whether this gateway is the first of all to claim something of a
// channel with this value. Only the last value of each thing is remembered.
func (r *Roster) Claim(ctx context.Context, app, channel, what, value string) (bool, error) {
	key := "claim." + name.Key(what) + "." + name.Key(app) + "." + name.Key(channel)
	e, err := r.opt.Table.Read(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return false, err
	}
	if err == nil && string(e.Value) == value {
		return false, nil
	}
	_, err = r.opt.Table.Swap(ctx, key, []byte(value), claimFor, e.Revision)
	if errors.Is(err, kv.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}
