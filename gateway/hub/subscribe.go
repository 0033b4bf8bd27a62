package hub

import (
	"cmp"
	"strconv"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pace"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// request is a subscription request, as far as its steps have processed it.
type request struct {
	pusher.Subscribe
	kind pusher.Kind
	// filter is from the pool. It belongs to the request until the subscription gets it.
	filter *pusher.Filter
	// member is the user that joins a presence channel.
	member pusher.Member
	// wish is the rewind that the client asks for, nil for none.
	wish *pusher.Rewind
}

// subscribe handles a subscription request in steps. A step that refuses the request sends the error to the
// client itself and returns false.
func (c *Client) subscribe(f pusher.ClientFrame) {
	var r request
	defer func() { c.hub.filters.Drop(r.filter) }()
	if !c.readRequest(&r, f) || !c.takeWish(&r) || !c.takeFilter(&r) || !c.permitted(&r) || !c.takeMember(&r) {
		return
	}
	m := c.membership(r.Channel)
	if m == nil {
		if r.kind.NeedsAuth() {
			c.authorized.Store(true) // A signature that came in time is not late because the log is slow or unavailable.
		}
		if m = c.attach(&r); m == nil {
			return
		}
	}
	way, err := c.way(m, r.wish, r.Resumes)
	if err != nil {
		if !m.welcomed {
			c.part(m)
		}
		c.attachFailed(r.Channel, err)
		return
	}
	c.agree(m, &r)
	form := c.form(m)
	c.welcome(m, r.kind, form, way)
	c.again.Served(r.Channel)
	c.setOut(m, way)
	c.boundBases()
	if form&fanout.Delta != 0 && r.Delta.Set {
		c.confirmDelta(r.Channel, form)
	}
}

// readRequest parses the request and checks the name of the channel.
func (c *Client) readRequest(r *request, f pusher.ClientFrame) bool {
	s, err := pusher.ParseSubscribe(f.Data)
	if err != nil {
		c.malformed(cmp.Or(s.Channel, f.Channel), err)
		return false
	}
	if err := pusher.CheckChannel(s.Channel, c.app().Limits.MaxChannelLength); err != nil {
		if len(s.Channel) > c.app().Limits.MaxChannelLength {
			c.limited("channel_name")
		}
		c.refuse(s.Channel, pusher.NoCode, "InvalidChannel", 400, err.Error())
		return false
	}
	if r.Subscribe, r.kind = s, pusher.KindOf(s.Channel); s.Resumes {
		c.again.Never()
	}
	return true
}

// takeFilter takes the filter of the request from the pool.
func (c *Client) takeFilter(r *request) bool {
	if r.Expression {
		c.refuse(r.Channel, pusher.NoCode, "FilterError", 400, "expression is not offered by this server; use filter")
		return false
	}
	filter, err := c.hub.filters.Take(r.Filter)
	if !c.hub.limit.Load().Filters {
		c.hub.filters.Drop(filter)
		filter = nil
	}
	r.filter = filter
	if err == nil && filter != nil {
		var before *pusher.Filter
		if m := c.membership(r.Channel); m != nil {
			before = m.filter
		}
		if err = c.filters.Fits(filter, before, c.hub.limit.Load().MaxFilterBytes); err != nil {
			c.limited("filter_bytes")
		}
	}
	if err != nil {
		c.refuse(r.Channel, pusher.NoCode, "FilterError", 400, err.Error())
		return false
	}
	return true
}

// permitted reports whether the connection may subscribe to the channel.
func (c *Client) permitted(r *request) bool {
	switch {
	case r.kind.Presence() && c.hub.opt.Roster == nil:
		c.refuse(r.Channel, pusher.ErrorUnauthorized, "NotSupported", 501, "this server has nowhere to keep members")
		return false
	case r.kind.ServerToUser() && (c.signed == nil || r.Channel != pusher.UserChannel(c.signed.user)):
		c.refuse(r.Channel, pusher.ErrorUnauthorized, "AuthError", 401, "this connection is not signed in as that user")
		return false
	case r.kind.NeedsAuth():
		err := c.app().Verify(c.hub.opt.Now(), func(key, secret string) error {
			return pusher.VerifySubscription(key, secret, c.id, &r.Subscribe)
		})
		if err != nil {
			c.refuse(r.Channel, pusher.ErrorUnauthorized, "AuthError", 401, err.Error())
			return false
		}
	}
	return true
}

// attach subscribes the connection to the channel and makes its user a member. It returns nil if it refused
// that.
func (c *Client) attach(r *request) *membership {
	if limit := c.hub.limit.Load().MaxSubscriptions; len(c.joined) >= limit {
		c.limited("subscriptions")
		c.refuse(r.Channel, pusher.ErrorOverCapacity, "LimitReached", 403,
			"this connection has reached its limit of "+strconv.Itoa(limit)+" subscriptions")
		return nil
	}
	ch, err := c.hub.acquire(c.app(), r.Channel, &c.asks)
	if err != nil {
		c.attachFailed(r.Channel, err)
		return nil
	}
	if r.kind.Presence() && !c.join(ch, r.member) {
		c.hub.unref(ch)
		return nil
	}
	m := membership{channel: ch}
	if r.member.ID != "" {
		m.rare = &rare{member: r.member.ID}
	}
	c.joined = append(c.joined, m)
	return &c.joined[len(c.joined)-1]
}

// agree gives the subscription what was requested. The request gets the old filter, which is in use until the
// new subscription has replaced it.
func (c *Client) agree(m *membership, r *request) {
	m.delta = r.Delta
	if m.rare != nil {
		m.rare.resyncs = pace.Window{}
	}
	c.filters.Swap(r.filter, m.filter)
	m.filter, r.filter = r.filter, m.filter
}

// welcome puts a subscription into its channel and queues the success frame, with the members at that moment.
// If the members changed meanwhile, it tries again.
func (c *Client) welcome(m *membership, kind pusher.Kind, form fanout.Form, way *fanout.Way) {
	name := m.channel.Name
	resumable, readable := c.recovers(), c.dialect == pusher.V2 && c.app().HistoryEnabled
	for {
		text, version := "{}", uint64(0)
		if kind.Presence() {
			text, version = hashOf(m.channel.roll)
		}
		e := fanout.Entry{Sock: c.sock, Form: form, Filter: m.filter, Members: version, Way: way, Bound: c.delta.recent}
		e.Greet = func(at fanout.Start) {
			f := pusher.Control{Event: "subscription_succeeded", Internal: true, Channel: name, Text: text}
			if c.dialect == pusher.V2 {
				f.MessageID = c.hub.messageID()
			}
			if m.attach = at.Position; !m.welcomed {
				m.began = at.Offset
			}
			m.told = at.Told()
			if resumable {
				f.Begin(at.Epoch, m.told, at.Offset)
			}
			if readable {
				f.Text = pusher.WithAttachSerial(f.Text, m.told)
			}
			if c.dialect == pusher.V2 && way != nil && way.Latest {
				f.Text = pusher.WithSnapshot(f.Text)
			}
			c.send(fanout.ControlFrame(c.dialect, 128+len(name)+len(text), &f))
			e.Owed = c.fromCache(m.channel, &at)
		}
		if !m.channel.put(c, &e, !m.welcomed) {
			m.welcomed = true
			return
		}
	}
}
