package fanout

import (
	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Rules say how publications go out. A publication keeps those under which it came.
type Rules struct {
	// Delta says what is compressed, and how. Retained is the number of publications that the log
	// keeps, from which others must be able to count, 0 if nothing is compressed or that is not bounded.
	Delta    app.Delta
	Retained int
	// Keyed: publications have conflation values. Path is where they stand, also if nothing
	// is compressed.
	Keyed bool
	Path  delta.Path
	// Conflates: sockets that are behind skip to the newest publication of each conflation
	// value. Without values there is nothing to go by.
	Conflates bool
}

// RulesOf are those that an app has for a channel; compress false is a veto of the gateway. The
// error says what is wrong with the conflation path, without which the rules go on.
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

// Salt is what is added to the offsets of publications in a life of the log for their numbers. It depends
// on all that their texts depend on: a client may meet a publication at gateways with different rules, or
// before and after these change, and a number that it knows must not stand for another text.
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

// noRules are those of a line that was given none.
var noRules Rules

// Rules are those in force. Nobody changes them.
func (l *Line) Rules() *Rules {
	if r := l.rules.Load(); r != nil {
		return r
	}
	return &noRules
}

// Govern puts rules in force, which the caller gives away. It is for the owner of the channel,
// who must make its [Bases] anew: those of other rules are of no use.
func (l *Line) Govern(r *Rules) { l.rules.Store(r) }

// Under says whether the publication came under these rules.
func (p *Event) Under(r *Rules) bool { return p.rules == r }

// lineage is what deltas of the publication may start from for subscriptions of a form. That may have been
// made under rules that have conflation values, and the publication come under others. Its frames have an
// empty value then, see [Form.followedBy].
func (p *Event) lineage(f Form) *Lineage {
	if !p.rules.Keyed {
		return &p.Bases[SingleBase]
	}
	return &p.Bases[f.mode()]
}

// Part is how a publication of the channel takes part in delta compression, with its conflation
// value, which is empty in single-base mode.
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
