package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// SubscriptionError says that the server refused a subscription (protocol
// section 1.7).
type SubscriptionError struct {
	Channel string
	// Kind is the machine-readable reason, and Status the corresponding HTTP status.
	Kind, Message string
	Status        int
}

func (e *SubscriptionError) Error() string {
	return fmt.Sprintf("subscription to %s refused: %s (%s, status %d)", e.Channel, e.Message, e.Kind, e.Status)
}

// temporary reports whether the same request may succeed later.
func (e *SubscriptionError) temporary() bool { return e.Status == 503 }

// SubscribeOption changes one subscription.
type SubscribeOption func(*subscription)

// WithDelta turns delta compression of one subscription on or off, whatever the connection's setting. algorithm
// is the name of the format; empty lets the server choose.
func WithDelta(on bool, algorithm string) SubscribeOption {
	return func(s *subscription) {
		s.delta = "false"
		if on {
			s.delta = "true"
			if algorithm != "" {
				s.delta = string(pusher.AppendString(nil, algorithm))
			}
		}
	}
}

// WithRewind begins a subscription with its last n events, in the second dialect. The protocol event
// `rewind_complete` says when they have arrived ([Options.OnControl]). A subscription that is resumed gets what
// it missed instead.
func WithRewind(n int) SubscribeOption {
	return func(s *subscription) {
		s.rewind, s.begins = `{"count":`+strconv.Itoa(n)+`}`, rewinding
	}
}

// WithRewindFor is [WithRewind] for the events of the last d, rounded up to whole seconds.
func WithRewindFor(d time.Duration) SubscribeOption {
	return func(s *subscription) {
		seconds := (d + time.Second - 1) / time.Second
		s.rewind, s.begins = `{"seconds":`+strconv.FormatInt(int64(seconds), 10)+`}`, rewinding
	}
}

// WithLatest begins a subscription with the newest event of each conflation value, oldest first, in the second
// dialect. The protocol event `snapshot_complete` says when they have arrived.
func WithLatest() SubscribeOption {
	return func(s *subscription) { s.rewind, s.begins = `{"latest":true}`, collecting }
}

// subscription is a channel that the caller wants.
type subscription struct {
	channel string
	delta   string // JSON, empty to inherit
	rewind  string // JSON, empty for none
	begins  way
	// before is set if the server may have granted the channel to an earlier request. That grant then survives a
	// refusal of this one.
	before bool
	// settled is closed when the first answer has arrived; err is then final. done and err are guarded by the
	// client's mu.
	settled chan struct{}
	done    bool
	err     error
	// wait computes the pauses after temporary refusals. It is guarded by the client's mu.
	wait backoff
}

func (s *subscription) settle(err error) {
	if !s.done {
		s.done, s.err = true, err
		close(s.settled)
	}
}

// granted reports whether the server has granted the subscription. The caller holds the client's mu.
func (s *subscription) granted() bool { return s.done && s.err == nil }

// Subscribe requests a channel and returns when the server has granted it: events that are published from then
// on arrive. Subscribing again changes the settings. If the connection is lost meanwhile, Subscribe waits for
// the next one. The error is a [*SubscriptionError], the error of [Options.Auth], the reason why the client
// ended, or that of the context; after an error the channel is not subscribed, even if it was before. Unless
// [Options.OnEvent] is set, [Client.Events] must be read meanwhile: the answer may be behind more events than
// fit into its buffer.
func (c *Client) Subscribe(ctx context.Context, channel string, options ...SubscribeOption) error {
	s := &subscription{channel: channel, settled: make(chan struct{})}
	for _, o := range options {
		o(s)
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	if old := c.subs[channel]; old != nil {
		s.before = true
		old.settle(errors.New("subscribed again meanwhile"))
	}
	c.subs[channel] = s
	c.positions.wish(channel, s.begins)
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		c.ask(conn, s, fresh)
	}
	select {
	case <-s.settled:
	case <-ctx.Done():
		c.abandon(s, ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.err
}

// abandon gives up a subscription whose caller no longer waits, unless its answer has already arrived.
func (c *Client) abandon(s *subscription, err error) {
	c.speaking.Lock()
	defer c.speaking.Unlock()
	c.mu.Lock()
	late, present := s.done, c.subs[s.channel] == s
	c.mu.Unlock()
	if late || !present {
		return
	}
	c.remove(s, err)
	_ = c.part(s.channel)
}

// Unsubscribe ends a subscription. Events that are already on their way may still arrive. The error is that of
// writing to the connection; the subscription ends in any case.
func (c *Client) Unsubscribe(channel string) error {
	c.speaking.Lock()
	defer c.speaking.Unlock()
	c.mu.Lock()
	s := c.subs[channel]
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	c.remove(s, errors.New("unsubscribed meanwhile"))
	return c.part(channel)
}

// part sends an unsubscribe request. The caller holds speaking.
func (c *Client) part(channel string) error {
	err := c.send(c.request("unsubscribe", channel, nil))
	c.forget(channel)
	return err
}

// send writes to the present connection. Without one it does nothing, because a new connection has no
// subscriptions yet.
func (c *Client) send(text []byte) error {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return nil
	}
	return conn.send(text)
}

// asking is the reason for a request.
type asking uint8

const (
	// fresh means that the caller subscribes.
	fresh asking = iota
	// resumed means that it resumes if possible, and its position is sent after the request.
	resumed
	// parked means that it resumes if possible, and its position is sent before the request, so that the server
	// has it in time.
	parked
)

// ask sends the request for a subscription, unless the subscription was given up.
func (c *Client) ask(conn *connection, s *subscription, why asking) {
	auth, channelData := "", ""
	if kind := pusher.KindOf(s.channel); kind.NeedsAuth() && c.opt.Auth != nil {
		var err error
		if auth, channelData, err = c.opt.Auth(conn.socketID, s.channel); err != nil {
			c.unauthorized(conn, s, why, fmt.Errorf("authorizing %s: %w", s.channel, err))
			return
		}
	}
	c.speaking.Lock()
	defer c.speaking.Unlock()
	if !c.wanted(conn, s) {
		return
	}
	begins := s.begins
	if why != fresh && c.positions.resumable(s.channel) {
		begins = resuming
	}
	c.positions.subscribe(s.channel, begins)
	if why == parked {
		c.resume(conn, s)
	}
	text := c.request("subscribe", s.channel, func(b []byte) []byte {
		b = append(b, `,"auth":`...)
		b = pusher.AppendString(b, auth)
		if channelData != "" {
			b = append(b, `,"channel_data":`...)
			b = pusher.AppendString(b, channelData)
		}
		if s.delta != "" {
			b = append(b, `,"delta":`...)
			b = append(b, s.delta...)
		}
		if why == resumed && begins == resuming {
			b = append(b, `,"resumes":true`...)
		}
		if begins == s.begins && begins != direct {
			b = append(b, `,"rewind":`...)
			b = append(b, s.rewind...)
		}
		return b
	})
	// A failed write ends the connection; the next one requests again.
	_ = conn.send(text)
}

// wanted reports whether a subscription should be requested on a connection. If a newer connection has replaced
// this one, the subscription is requested there.
func (c *Client) wanted(conn *connection, s *subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs[s.channel] == s && c.conn == conn
}

// unauthorized gives up a subscription that [Options.Auth] does not sign.
func (c *Client) unauthorized(conn *connection, s *subscription, why asking, err error) {
	c.speaking.Lock()
	wanted, was := c.wanted(conn, s), false
	if wanted {
		if was = c.remove(s, err); why == fresh && was {
			_ = c.part(s.channel)
		}
	}
	c.speaking.Unlock()
	if !wanted {
		return
	}
	if why != fresh {
		c.status(Status{Connected: true, SocketID: conn.socketID, Err: err})
	}
	c.recovered(conn)
}

// remove drops a subscription that has failed or is no longer wanted. It reports whether the server may have
// granted the channel and no other subscription replaces it.
func (c *Client) remove(s *subscription, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := false
	if c.subs[s.channel] == s {
		was = s.before || s.granted()
		delete(c.subs, s.channel)
		c.positions.drop(s.channel)
	}
	s.settle(err)
	return was
}

func (c *Client) settle(channel string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs[channel]; s != nil {
		s.settle(err)
		s.wait.reset()
	}
}

// refused handles a refusal by the server. A subscription that was granted before is requested again if the
// refusal may be temporary, for example because the server is starting.
func (c *Client) refused(conn *connection, e *SubscriptionError) {
	c.mu.Lock()
	s := c.subs[e.Channel]
	granted := s != nil && s.done
	pause := time.Duration(0)
	if s != nil {
		s.wait.least, s.wait.most = c.opt.MinBackoff, c.opt.MaxBackoff
		pause = s.wait.next(false)
	}
	c.mu.Unlock()
	if s == nil {
		return
	}
	c.opt.Logger.Warn("subscription refused", "channel", e.Channel, "kind", e.Kind, "status", e.Status)
	if !granted || !c.opt.Reconnect || !e.temporary() {
		c.speaking.Lock()
		if c.remove(s, e) {
			_ = c.part(s.channel)
		}
		c.speaking.Unlock()
		c.recovered(conn)
		if granted {
			c.status(Status{Connected: true, SocketID: conn.socketID, Err: e})
		}
		return
	}
	c.work.Go(func() {
		select {
		case <-time.After(pause):
			c.ask(conn, s, parked)
		case <-conn.ended:
		case <-c.ctx.Done():
		}
	})
}
