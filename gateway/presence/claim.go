package presence

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	// claimFor is how long a claim is remembered. Strangers choose the names of channels, so it is no longer
	// than needed where ids of tasks do not prevent duplicates.
	claimFor = 10 * time.Minute
	// claimRate is how many claims of an app a gateway writes in a second.
	claimRate = 50
	// claimTry bounds one attempt to claim something.
	claimTry = 2 * time.Second
)

// Claim reports whether this gateway is the first of all to claim something of a channel with this value.
// Only the last value of each thing is remembered. It retries until ctx ends. It recognizes its own claim if
// the answer to the write was lost; otherwise every gateway would take the claim for another's and none would
// act. An error together with true means that the claim may be ours and that this is not known: acting on it
// may duplicate another gateway's action. [ErrManyClaims] comes with true as well, and nothing is written
// then.
func (r *Roster) Claim(ctx context.Context, app, channel, what, value string) (bool, error) {
	if !r.claims.admit(app, r.opt.Now()) {
		r.metrics.unclaimed.Add(1)
		return true, ErrManyClaims
	}
	c := claim{
		table: r.opt.Table, key: "claim." + name.Key(what) + "." + name.Key(app) + "." + name.Key(channel),
		value: value, mine: value + claimant + r.opt.Node + "/" + rand.Text(),
	}
	for {
		try, cancel := context.WithTimeout(ctx, claimTry)
		first, err := c.try(try)
		cancel()
		if err == nil {
			return first, nil
		}
		if errors.Is(err, kv.ErrConflict) && ctx.Err() == nil {
			continue // another gateway wrote meanwhile, or this one did
		}
		select {
		case <-time.After(retryWait):
		case <-r.ctx.Done():
			return c.asked, err
		case <-ctx.Done():
			return c.asked, err
		}
	}
}

// ErrManyClaims means that an app claims more in a second than is written to the table.
var ErrManyClaims = errors.New("the app claims too much at once")

// claimRates counts the claims of each app in the present second.
type claimRates struct {
	mu     sync.Mutex
	second int64
	of     map[string]int
}

// admit reports whether an app may make another claim now.
func (c *claimRates) admit(app string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if second := now.Unix(); c.of == nil || second != c.second {
		c.second, c.of = second, map[string]int{}
	}
	c.of[app]++
	return c.of[app] <= claimRate
}

// claimant separates the claimed value from the claiming gateway.
const claimant = "\n"

// claim is a claim in progress.
type claim struct {
	table            kv.Table
	key, value, mine string
	// asked is set while it is not known whether a write of this gateway was stored.
	asked bool
}

// try makes one attempt.
func (c *claim) try(ctx context.Context) (first bool, err error) {
	e, err := c.table.Read(ctx, c.key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return false, err
	}
	if err == nil {
		if string(e.Value) == c.mine {
			return true, nil
		}
		if taken, _, _ := strings.Cut(string(e.Value), claimant); taken == c.value {
			return false, nil
		}
	}
	_, err = c.table.Swap(ctx, c.key, []byte(c.mine), claimFor, e.Revision)
	c.asked = err != nil && (c.asked || !errors.Is(err, kv.ErrConflict))
	return err == nil, err
}
