package streams

import (
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// maxDenied bounds the remembered refused subjects. One would be enough to detect that the permissions have changed.
const maxDenied = 64

// canary tests whether a connection may now subscribe to subjects that were refused, with one subscription at a time. To
// replace the whole connection for that would interrupt all channels. The lock of its link guards it.
type canary struct {
	// denied subjects are tried in rotation, so that one that stays forbidden does not delay the others.
	denied []string
	tried  string
	sub    *nats.Subscription
	// extra is one additional subscription, made when link.crowded was refused.
	extra   *nats.Subscription
	refused uint64
}

// deny records a subject to which the server denied a subscription.
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

// permitted reports whether the subscription of the previous call was permitted. If not, it tries the next subject. Between
// two calls the server has time to answer.
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
			c.denied = append(c.denied, c.tried) // the server could not answer
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

// roomy reports whether the server accepted the additional subscription of the previous call. If not, it tries another one.
// Between two calls the server has time to answer.
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
