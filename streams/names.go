package streams

import (
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// Names of the log on the wire of NATS. `ch` subjects are published to and
// captured by the app's stream, `rt` subjects are written by the server alone.
const (
	publishRoot = "ch."
	liveRoot    = "rt."
	streamRoot  = "CH_"
)

// Names of the log in which gateways tell each other what to do. Who may publish to apps
// has no part in them.
const (
	ordersRoot     = "gw."
	liveOrdersRoot = "rtgw."
	ordersStream   = "GATEWAYS"
)

// SubjectOf is the subject that publishes to a channel.
func SubjectOf(app, channel string) string { return publishSubject("", app, channel) }

// LiveSubjectOf is the subject on which the server gives out what it stored.
func LiveSubjectOf(app, channel string) string { return liveSubject("", app, channel) }

// StreamOf is the name of an app's stream.
func StreamOf(app string) string { return streamName("", app) }

// rootsOf precede the token of a channel of an app where it is published to, and where the
// server gives out what it stored.
func rootsOf(prefix, app string) (publish, live string) {
	if app == broker.GatewaysApp {
		return prefix + ordersRoot, prefix + liveOrdersRoot
	}
	return prefix + publishRoot + name.Subject(app) + ".", prefix + liveRoot + name.Subject(app) + "."
}

func publishSubject(prefix, app, channel string) string {
	root, _ := rootsOf(prefix, app)
	return root + name.Subject(channel)
}

func liveSubject(prefix, app, channel string) string {
	_, root := rootsOf(prefix, app)
	return root + name.Subject(channel)
}

func streamName(prefix, app string) string {
	own := strings.ToUpper(strings.TrimSuffix(prefix, "."))
	if app == broker.GatewaysApp {
		return own + ordersStream
	}
	return own + streamRoot + name.Key(app)
}
