package load

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Format is the version of the JSON form of a [Result].
const Format = 1

// Result is the result of a run.
type Result struct {
	Format  int       `json:"format"`
	Kind    Kind      `json:"kind"`
	Started time.Time `json:"started"`
	// Seconds is how long was measured. Interrupted is set if that was shorter than requested.
	Seconds       float64        `json:"seconds"`
	Interrupted   bool           `json:"interrupted"`
	Environment   Environment    `json:"environment"`
	Settings      Settings       `json:"settings"`
	Numbers       []Number       `json:"numbers"`
	Distributions []Distribution `json:"distributions"`
	Generator     Generator      `json:"generator"`
	// Errors counts failures by operation and reason.
	Errors map[string]int `json:"errors"`
	// Notes are remarks that matter for the interpretation of the numbers.
	Notes []string `json:"notes"`
}

// Settings are the options that the kind of the run uses.
type Settings struct {
	Connections     int     `json:"connections,omitempty"`
	Channels        int     `json:"channels,omitempty"`
	ChannelType     string  `json:"channel_type,omitempty"`
	Rate            float64 `json:"rate,omitempty"`
	Size            int     `json:"size,omitempty"`
	InFlight        int     `json:"in_flight,omitempty"`
	Duration        string  `json:"duration,omitempty"`
	Warmup          string  `json:"warmup,omitempty"`
	SlowConnections int     `json:"slow_connections,omitempty"`
	SlowRate        int     `json:"slow_rate,omitempty"`
	Rounds          int     `json:"rounds,omitempty"`
	Spread          string  `json:"spread,omitempty"`
}

// Number is one measured number. Better is "more" or "less", or empty if neither applies.
type Number struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit,omitempty"`
	Value  float64 `json:"value"`
	Better string  `json:"better,omitempty"`
}

// Generator describes the load generator itself during the run.
type Generator struct {
	// Overhead was measured before the run, with a trivial server in the same process.
	Overhead *Overhead `json:"overhead,omitempty"`
	Usage    Usage     `json:"usage"`
	// CPUPerMessage is the processor time of the generator per received or sent message, in microseconds.
	CPUPerMessage float64 `json:"cpu_per_message_us"`
	// LateP99 is how late things were begun, without waits for a place.
	LateP99 float64 `json:"late_p99_ms"`
	LateMax float64 `json:"late_max_ms"`
	// Held is how long the generator waited because InFlight were in flight: the server's time.
	Held float64 `json:"held_seconds"`
	// Bottleneck is set if the generator was too slow to measure the server.
	Bottleneck bool `json:"bottleneck"`
}

// Overhead is the cost of the generator itself. It is an upper bound, because it includes the trivial server.
type Overhead struct {
	CPUPerDelivery float64 `json:"cpu_per_delivery_us"`
	CPUPerPublish  float64 `json:"cpu_per_publish_us"`
	LateP99        float64 `json:"late_p99_ms"`
	DeliveryP99    float64 `json:"delivery_p99_ms"`
}

// ReadResult reads a result from a JSON file.
func ReadResult(path string) (*Result, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is no result of a run: %w", path, err)
	}
	if r.Format != Format || r.Kind == "" {
		return nil, fmt.Errorf("%s has format %d, must be %d", path, r.Format, Format)
	}
	return r, nil
}

// settings returns the options that this kind of run uses.
func (o *Options) settings() Settings {
	s := Settings{Channels: o.Channels, ChannelType: channelType(o.Prefix), Duration: o.Duration.String()}
	if o.Kind != Publish && o.Kind != Churn {
		s.Connections = o.Connections
	}
	if o.Kind != Reconnect {
		s.Rate, s.InFlight = o.Rate, o.InFlight
	}
	if o.subscribes() || o.Kind == Publish {
		s.Size, s.Warmup = o.Size, o.Warmup.String()
	}
	switch o.Kind {
	case Slow:
		s.SlowConnections, s.SlowRate = o.SlowConnections, o.SlowRate
	case Reconnect:
		s.Duration, s.Rounds, s.Spread = "", o.Rounds, o.Spread.String()
	}
	return s
}
