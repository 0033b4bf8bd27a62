package streams

import (
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
	denied map[string]bool
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
	if !found || len(k.canary.denied) >= maxDenied && subject != k.canary.tried {
		return
	}
	if k.canary.denied == nil {
		k.canary.denied = map[string]bool{}
	}
	k.canary.denied[subject] = true
}

// permitted says whether what was tried the last time is permitted now, and tries another
// one if not. Between two calls the server has time to answer.
func (k *link) permitted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.canary
	if c.sub != nil {
		alive := c.sub.IsValid() && k.connected()
		_ = c.sub.Unsubscribe()
		c.sub = nil
		if alive && !c.denied[c.tried] {
			c.denied = nil
			return true
		}
	}
	for subject := range c.denied {
		sub, err := k.conn().Subscribe(subject, func(*nats.Msg) {})
		if err != nil {
			break
		}
		delete(c.denied, subject)
		c.tried, c.sub = subject, sub
		break
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
