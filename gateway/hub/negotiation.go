package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// deltaState is what a connection has negotiated about delta compression, apart from its subscriptions.
type deltaState struct {
	on bool
	// chosen is the format of the connection, unset before it has enabled deltas.
	chosen app.Algorithm
	// quirk is what is special about the client's library.
	quirk pusher.Quirk
	// usable are the formats that the client lists and that its library can decode.
	usable pusher.Algorithms
	// recent bounds the channels with bases; nil while the connection does not exceed the limit.
	recent *fanout.Recency
}

// form returns the form of frames for a subscription (protocol section 3.4).
func (c *Client) form(m *membership) fanout.Form {
	var f fanout.Form
	if c.dialect == pusher.V2 {
		f = fanout.V2
	}
	on := c.delta.on
	if m.delta.Set {
		on = m.delta.On
	}
	rules := m.channel.Rules()
	if !on || !rules.Delta.Enabled {
		return f
	}
	algorithm := c.pickAlgorithm(m, rules.Delta.Algorithm)
	if algorithm == app.AlgorithmUnset {
		return f
	}
	f |= fanout.Delta
	if rules.Keyed && !c.delta.quirk.Single {
		f |= fanout.Keyed
	}
	if algorithm == app.VCDIFF {
		f |= fanout.VCDIFF
	}
	return f
}

// pickAlgorithm returns the first of these formats that the client can decode: that of the subscription, the
// channel, the connection, Fossil, VCDIFF. It returns unset if there is none.
func (c *Client) pickAlgorithm(m *membership, configured app.Algorithm) app.Algorithm {
	if c.delta.quirk.Decodes.Has(m.delta.Algorithm) {
		return m.delta.Algorithm
	}
	for _, a := range [...]app.Algorithm{configured, c.delta.chosen, app.Fossil, app.VCDIFF} {
		if c.delta.usable.Has(a) {
			return a
		}
	}
	return app.AlgorithmUnset
}

func (c *Client) enableDelta(data string) {
	listed, err := pusher.ParseEnableDelta(data)
	if err != nil {
		c.deny(refusedDelta, "", pusher.NoCode, "enable_delta_compression: %v", err)
		return
	}
	usable := c.delta.quirk.Decodes
	if listed != nil {
		usable &= pusher.AlgorithmsOf(listed)
	}
	var chosen app.Algorithm
	if c.hub.opt.DeltaEnabled && c.app().Delta.Enabled {
		chosen = pusher.Choose(c.app().Delta.Algorithm, listed, usable)
	}
	if chosen == app.AlgorithmUnset {
		c.control(pusher.Control{Event: "delta_compression_enabled", Object: []byte(`{"enabled":false}`)})
		return
	}
	c.delta.on, c.delta.chosen, c.delta.usable = true, chosen, usable
	c.control(pusher.Control{
		Event:  "delta_compression_enabled",
		Object: []byte(`{"enabled":true,"algorithm":"` + chosen.String() + `"}`),
	})
	for i := range c.joined {
		m := &c.joined[i]
		m.channel.Shards[c.shard.ID].Reform(c.sock.Outbox(), c.form(m))
	}
	c.boundBases()
}

func (c *Client) confirmDelta(channel string, f fanout.Form) {
	data := []byte(`{"enabled":true,"algorithm":"` + f.Algorithm().String() + `","channel":`)
	data = append(pusher.AppendString(data, channel), '}')
	c.control(pusher.Control{Event: "delta_compression_enabled", Channel: channel, Object: data})
}

// boundBases begins to bound the channels with bases once a connection has more of them than the limit
// (protocol section 3.13).
func (c *Client) boundBases() {
	active := 0
	for i := range c.joined {
		if c.form(&c.joined[i])&fanout.Delta != 0 {
			active++
		}
	}
	if c.delta.recent != nil || active <= c.hub.limit.Load().MaxDeltaChannels {
		return
	}
	c.delta.recent = fanout.NewRecency(c.hub.limit.Load().MaxDeltaChannels)
	for i := range c.joined {
		// All but the last one may hold bases already. The order of joining replaces that of use, which was
		// not recorded so far.
		s := &c.joined[i].channel.Shards[c.shard.ID]
		if i < len(c.joined)-1 {
			c.delta.recent.Touch(s)
		}
		s.LimitTo(c.sock.Outbox(), c.delta.recent)
	}
}

// resync forgets the bases that the client was assumed to hold (protocol section 3.11).
func (c *Client) resync(data string) {
	channel, err := pusher.ParseDeltaSyncError(data)
	if err != nil {
		c.deny(refusedDelta, "", pusher.NoCode, "delta_sync_error: %v", err)
		return
	}
	m := c.membership(channel)
	if m == nil {
		return
	}
	c.hub.opt.Metrics.resync(c.tenant.ID)
	here := &m.channel.Shards[c.shard.ID]
	here.Forget(c.sock.Outbox())
	if m.rare == nil {
		m.rare = &rare{}
	}
	if m.rare.resyncs.Exceeds(maxResyncs, resyncWindow, c.hub.opt.Now()) {
		m.delta = pusher.DeltaRequest{Set: true}
		here.Reform(c.sock.Outbox(), c.form(m))
	}
}

// A subscription that requests more resyncs than this within a minute gets full frames only.
const maxResyncs, resyncWindow = 5, time.Minute
