package streams

import (
	"strings"

	"github.com/sluicehq/sluice/broker/name"
)

// Names of the log on the wire of NATS. `ch` subjects are published to and
// captured by the app's stream, `rt` subjects are written by the server alone.
const (
	publishRoot = "ch."
	liveRoot    = "rt."
	streamRoot  = "CH_"
)

// SubjectOf is the subject that publishes to a channel.
func SubjectOf(app, channel string) string { return publishSubject("", app, channel) }

// LiveSubjectOf is the subject on which the server gives out what it stored.
func LiveSubjectOf(app, channel string) string { return liveSubject("", app, channel) }

// StreamOf is the name of an app's stream.
func StreamOf(app string) string { return streamName("", app) }

func publishSubject(prefix, app, channel string) string {
	return prefix + publishRoot + name.Subject(app) + "." + name.Subject(channel)
}

func liveSubject(prefix, app, channel string) string {
	return prefix + liveRoot + name.Subject(app) + "." + name.Subject(channel)
}

func streamName(prefix, app string) string {
	return strings.ToUpper(strings.TrimSuffix(prefix, ".")) + streamRoot + name.Key(app)
}
