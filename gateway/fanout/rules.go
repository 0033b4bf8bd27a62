package fanout

import (
	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Rules say how publications are sent. A publication keeps the rules under which it arrived.
type Rules struct {
	// Delta says what is compressed, and how. Retained is the number of publications that the log keeps, from
	// which other gateways must be able to count; 0 if nothing is compressed or the number is not bounded.
	Delta    app.Delta
	Retained int
	// Keyed: publications have conflation values. Path is where these are in the data; it is set even if
	// nothing is compressed.
	Keyed bool
	Path  delta.Path
	// Conflates: sockets that are behind skip to the newest publication of each conflation value. It requires
	// Keyed.
	Conflates bool
}

// RulesOf returns the rules of an app for a channel. If compress is false, nothing is compressed. An error
// says what is wrong with the conflation path; the rules are then valid without one.
func RulesOf(a *app.App, channel string, compress bool) (r *Rules, err error) {
	r = &Rules{Delta: a.ChannelDelta(channel)}
	if pusher.KindOf(channel).Encrypted() || !compress {
		r.Delta.Enabled = false
	}
	if r.Delta.Enabled {
		r.Retained = a.RetainedMessages
	}
	if r.Delta.Path == "" {
		return r, nil
	}
	r.Path, err = delta.ParsePath(r.Delta.Path)
	if r.Delta.Enabled && err == nil {
		r.Keyed, r.Conflates = true, a.Conflate
	}
	return r, err
}

// Salt returns what is added to the offsets of publications in an epoch to get their numbers. It depends on
// everything that their texts depend on: a client may get a publication from gateways with different rules,
// or before and after the rules change, and a number that it knows must not stand for another text.
func (r *Rules) Salt(l *Line, epoch string) uint64 {
	life := append([]byte(epoch), '/')
	if r.Delta.DeliverTags {
		life = append(life, 't')
	}
	if l.Serials {
		life = append(life, 's')
	}
	if r.Keyed {
		life = append(append(life, 'k'), r.Delta.Path...)
	}
	return delta.Salt(l.App, l.Name, string(life))
}

// noRules are the rules of a line that was given none.
var noRules Rules

// Rules returns the rules in force. They are never modified.
func (l *Line) Rules() *Rules {
	if r := l.rules.Load(); r != nil {
		return r
	}
	return &noRules
}

// Govern puts rules in force, and keeps r. Only the owner of the channel calls it, and must then make new
// [Bases]: those of other rules cannot be used.
func (l *Line) Govern(r *Rules) { l.rules.Store(r) }

// Under reports whether the publication arrived under these rules.
func (p *Event) Under(r *Rules) bool { return p.rules == r }

// lineage returns the bases for subscriptions of a form. A form may be from rules with conflation values, and
// the publication from rules without. The frames then have an empty value, see [Form.followedBy].
func (p *Event) lineage(f Form) *Lineage {
	if !p.rules.Keyed {
		return &p.Bases[SingleBase]
	}
	return &p.Bases[f.mode()]
}

// Part returns how a publication of the channel takes part in delta compression, and its conflation value,
// which is empty in single-base mode.
func (l *Line) Part(pub *broker.Publication) (part count.Part, value string) {
	if pub.Skipped != "" {
		return count.Plain, ""
	}
	r, shape := l.Rules(), delta.ShapeOf(pub.Data)
	if r.Keyed {
		value = count.Value(&pub.Event, shape, r.Path)
	}
	return count.PartOf(&pub.Event, l.Name, value, shape, &r.Delta), value
}
