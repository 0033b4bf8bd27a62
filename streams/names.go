package streams

import (
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// Names of the log in NATS. Publishers write to `ch` subjects, which the stream of the app captures. Only the server writes to
// `rt` subjects.
const (
	publishRoot = "ch."
	liveRoot    = "rt."
	streamRoot  = "CH_"
)

// Names of the log of orders between gateways. Publishers of apps have no permissions for them.
const (
	ordersRoot     = "gw."
	liveOrdersRoot = "rtgw."
	ordersStream   = "GATEWAYS"
)

// SubjectOf returns the subject for publishing to a channel.
func SubjectOf(app, channel string) string { return publishSubject("", app, channel) }

// LiveSubjectOf returns the subject on which the server republishes stored events of a channel.
func LiveSubjectOf(app, channel string) string { return liveSubject("", app, channel) }

// StreamOf returns the name of the stream of an app.
func StreamOf(app string) string { return streamName("", app) }

// rootsOf returns the prefixes, up to the token of the channel, of the subjects for publishing and of the live subjects.
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
