package streams

import (
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// maxDenied bounds the refused subjects that are remembered. One is enough to find out
// whether the permissions have changed.
const maxDenied = 64

// canary finds out whether a connection may subscribe to what it was refused, with one
// subscription at a time: making the whole connection anew would cost all channels a pause.
// The lock of its link guards it.
type canary struct {
	// denied are tried in turn: what stays forbidden does not keep the others waiting.
	denied []string
	tried  string
	sub    *nats.Subscription
	// extra is one more subscription than there are, made when the server had refused so many.
	extra   *nats.Subscription
	refused uint64
}

// deny notes a subject to which the server permits no subscription.
func (k *link) deny(violation string) {
	_, subject, found := strings.Cut(violation, `for Subscription to "`)
	subject, _, _ = strings.Cut(subject, `"`)
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.canary
	if !found || slices.Contains(c.denied, subject) || len(c.denied) >= maxDenied && subject != c.tried {
		return
	}
	c.denied = append(c.denied, subject)
}

// permitted says whether what was tried the last time is permitted now, and tries another
// one if not. Between two calls the server has time to answer.
func (k *link) permitted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.canary
	if c.sub != nil {
		valid := c.sub.IsValid()
		alive := valid && k.connected()
		_ = c.sub.Unsubscribe()
		c.sub = nil
		if alive && !slices.Contains(c.denied, c.tried) {
			c.denied = nil
			return true
		}
		if valid && !slices.Contains(c.denied, c.tried) {
			c.denied = append(c.denied, c.tried) // nobody could answer
		}
	}
	if len(c.denied) == 0 {
		return false
	}
	sub, err := k.conn().Subscribe(c.denied[0], func(*nats.Msg) {})
	if err == nil {
		c.tried, c.sub = c.denied[0], sub
		c.denied = slices.Delete(c.denied, 0, 1)
	}
	return false
}

// roomy says whether the server took one more subscription, and tries another one if not.
// Between two calls it has time to answer.
func (k *link) roomy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.canary
	taken := c.extra != nil && c.extra.IsValid() && k.connected() && k.crowded.Load() == c.refused
	if c.extra != nil {
		_ = c.extra.Unsubscribe()
		c.extra = nil
	}
	if taken {
		return true
	}
	c.refused = k.crowded.Load()
	c.extra, _ = k.conn().Subscribe(nats.NewInbox(), func(*nats.Msg) {})
	return false
}
