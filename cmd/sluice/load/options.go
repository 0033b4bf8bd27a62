package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Kind is the kind of a run.
type Kind string

// The kinds of runs.
const (
	// Subscribe publishes to subscribers, and measures from when a message was due until each of them has
	// received it.
	Subscribe Kind = "subscribe"
	// Publish publishes, and measures until the server has answered.
	Publish Kind = "publish"
	// Churn connects, subscribes, unsubscribes and leaves.
	Churn Kind = "churn"
	// Reconnect cuts all connections at once, and measures until they are subscribed again.
	Reconnect Kind = "reconnect"
	// Slow is Subscribe twice: without subscribers that read slowly, and then with some.
	Slow Kind = "slow"
	// Self is Subscribe with a trivial server in the same process.
	Self Kind = "self"
)

// Target is the server and the app.
type Target struct {
	// URL of the server: http, https, ws or wss, with an optional path prefix.
	URL        string
	AppID, Key string
	Secret     app.Secret
	// TLS is for secure connections, nil for the system's certificates.
	TLS *tls.Config
}

// Options configure a run. A kind ignores the options that it does not use.
type Options struct {
	Kind   Kind
	Target Target
	// Connections is the number of subscribers, at least 1, divided evenly among Channels.
	Connections, Channels int
	// Prefix begins the channel names, before the random part of the run. It may begin with private- or
	// presence-.
	Prefix string
	// Rate is how many messages, or connections for Churn, are due per second.
	Rate float64
	// Size is the size of the data of a message in bytes, at least 64.
	Size int
	// Duration is how long is measured, and Warmup how long the same load precedes that. Grace is how long
	// messages may be in flight at the end.
	Duration, Warmup, Grace time.Duration
	// InFlight is how many requests, or connections for Churn, may be in flight. Further ones wait, which is
	// part of their latency.
	InFlight int
	// ConnectRate is how many connections per second are opened before the measurement.
	ConnectRate float64
	// Timeout bounds a request and a handshake. For Reconnect, it bounds how long a connection tries to
	// reconnect.
	Timeout time.Duration
	// SlowConnections is the number of slow subscribers, each of which reads SlowRate bytes per second.
	SlowConnections, SlowRate int
	// Rounds is how often Reconnect cuts the connections, and Spread the time over which they reconnect, 0 for
	// all at once.
	Rounds int
	Spread time.Duration
	// Calibrate measures the generator with a trivial server first.
	Calibrate bool
	// Progress, unless nil, is called with the progress of the run, 0 to 1, and a text. It is not called
	// concurrently.
	Progress func(part float64, text string)
}

// Validate returns all errors of the options.
func (o *Options) Validate() error {
	var wrong []error
	between := func(name string, v, least, most float64) {
		if !(v >= least && v <= most) { // NaN is out of range as well
			number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
			wrong = append(wrong, fmt.Errorf("--%s is %s, must be %s to %s", name, number(v), number(least), number(most)))
		}
	}
	lasts := func(name string, v, least, most time.Duration) {
		if v < least || v > most {
			wrong = append(wrong, fmt.Errorf("--%s is %v, must be %v to %v", name, v, least, most))
		}
	}
	lasts("duration", o.Duration, 100*time.Millisecond, 24*time.Hour)
	lasts("warmup", o.Warmup, 0, time.Hour)
	lasts("grace", o.Grace, 0, time.Hour)
	lasts("timeout", o.Timeout, 10*time.Millisecond, time.Hour)
	between("connections", float64(o.Connections), 1, 1_000_000)
	between("channels", float64(o.Channels), 1, 1_000_000)
	between("rate", o.Rate, 0.01, 1_000_000)
	between("connect-rate", o.ConnectRate, 1, 100_000)
	between("size", float64(o.Size), 64, 1<<20)
	between("in-flight", float64(o.InFlight), 1, 100_000)
	if o.Kind == Reconnect {
		between("rounds", float64(o.Rounds), 1, 1000)
		lasts("spread", o.Spread, 0, time.Hour)
	}
	if o.Kind == Slow {
		between("slow", float64(o.SlowConnections), 1, 1_000_000)
		between("slow-rate", float64(o.SlowRate), 1, 1<<30)
	}
	if o.Connections > 0 && o.Channels > o.Connections && o.subscribes() {
		wrong = append(wrong, fmt.Errorf("--channels is %d, must not be more than --connections, %d", o.Channels, o.Connections))
	}
	// The longest channel name of a run.
	if err := pusher.CheckChannel(o.Prefix+"0123456789-1000000", 200); err != nil {
		wrong = append(wrong, fmt.Errorf("--prefix: %w", err))
	}
	return errors.Join(wrong...)
}

// subscribes reports whether the run has subscribers of messages.
func (o *Options) subscribes() bool {
	return o.Kind == Subscribe || o.Kind == Slow || o.Kind == Self
}
