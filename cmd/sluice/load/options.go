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

// Kind is what a run does.
type Kind string

// Kinds of runs.
const (
	// Subscribe publishes to subscribers, and measures from when a message was due until each
	// of them has it.
	Subscribe Kind = "subscribe"
	// Publish publishes, and measures until the server has answered.
	Publish Kind = "publish"
	// Churn connects, subscribes, unsubscribes and leaves.
	Churn Kind = "churn"
	// Reconnect cuts all connections at once, and measures until they are subscribed again.
	Reconnect Kind = "reconnect"
	// Slow does what Subscribe does, without and then beside subscribers that read slowly.
	Slow Kind = "slow"
	// Self does what Subscribe does against a trivial server in the same process.
	Self Kind = "self"
)

// Target is the server and the app.
type Target struct {
	// URL of the server: http, https, ws or wss, with an optional path prefix.
	URL        string
	AppID, Key string
	Secret     app.Secret
	// TLS is for secure connections, nil for what this machine trusts.
	TLS *tls.Config
}

// Options say what a run does. What a kind does not use is not looked at.
type Options struct {
	Kind   Kind
	Target Target
	// Connections are subscribers, 1 or more, divided evenly among Channels.
	Connections, Channels int
	// Prefix is what names of channels begin with, before what is of the run alone. It may
	// begin with private- or presence-.
	Prefix string
	// Rate is how many things are due a second: messages, or connections for Churn.
	Rate float64
	// Size is how many bytes of data a message has, 64 or more.
	Size int
	// Duration is how long is measured, and Warmup how long the same goes on before it.
	// Grace is how long what was published may be on its way at the end.
	Duration, Warmup, Grace time.Duration
	// InFlight is how many requests, or connections for Churn, may be under way. What is due
	// beyond waits, and its latency counts that.
	InFlight int
	// ConnectRate is how many connections a second are opened before it begins.
	ConnectRate float64
	// Timeout bounds a request and a handshake; for Reconnect, how long a connection tries to
	// come back.
	Timeout time.Duration
	// SlowConnections read SlowRate bytes a second each.
	SlowConnections, SlowRate int
	// Rounds is how often Reconnect cuts, and Spread the time over which the connections
	// come back, 0 for all at once.
	Rounds int
	Spread time.Duration
	// Calibrate measures the generator against a trivial server first.
	Calibrate bool
	// Progress, unless nil, is told how far the run is, 0 to 1, and what it does. One
	// goroutine calls it at a time.
	Progress func(part float64, text string)
}

// Validate says everything that is wrong with the options.
func (o *Options) Validate() error {
	var wrong []error
	between := func(name string, v, least, most float64) {
		if !(v >= least && v <= most) { // NaN is neither.
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
	// The longest name there is in the run.
	if err := pusher.CheckChannel(o.Prefix+"0123456789-1000000", 200); err != nil {
		wrong = append(wrong, fmt.Errorf("--prefix: %w", err))
	}
	return errors.Join(wrong...)
}

// subscribes says whether there are subscribers of messages.
func (o *Options) subscribes() bool {
	return o.Kind == Subscribe || o.Kind == Slow || o.Kind == Self
}
