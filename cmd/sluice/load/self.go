package load

import (
	"context"
	"time"
)

// The load with which the generator is calibrated.
const (
	calibrateReaders = 50
	calibrateRate    = 200
	calibrateAlone   = 500
	calibrateFor     = 400 * time.Millisecond
)

// self returns a run against a trivial server in this process, instead of the target of the options.
func self(opt Options) (*Run, func(), error) {
	e, err := startEcho()
	if err != nil {
		return nil, nil, err
	}
	opt.Kind, opt.Target = Self, Target{URL: "http://" + e.address, AppID: "self", Key: "self", Secret: "self"}
	r, err := New(opt)
	if err != nil {
		e.close()
		return nil, nil, err
	}
	return r, e.close, nil
}

// DoSelf does a run of the kind Self.
func DoSelf(ctx context.Context, opt Options) (*Result, error) {
	r, end, err := self(opt)
	if err != nil {
		return nil, err
	}
	defer end()
	r.result.Environment.Server = "a trivial server in the process of the generator"
	return r.Do(ctx)
}

// calibrate measures the cost of the generator itself. It returns nil if that has failed.
func (r *Run) calibrate(ctx context.Context) *Overhead {
	measure := func(readers int, rate float64) *Result {
		opt := r.opt
		opt.Calibrate, opt.Connections, opt.Channels, opt.Rate, opt.ConnectRate = false, readers, 1, rate, 5000
		opt.Duration, opt.Warmup, opt.Grace, opt.Timeout, opt.Prefix, opt.InFlight = calibrateFor, 50*time.Millisecond, time.Second, 5*time.Second, "", 64
		if opt.Progress != nil {
			opt.Progress = func(float64, string) { r.opt.Progress(0, "measuring the generator itself") }
		}
		one, end, err := self(opt)
		if err != nil {
			return nil
		}
		defer end()
		out, err := one.Do(ctx)
		if err != nil || out.empty() {
			return nil
		}
		return out
	}
	many, alone := measure(calibrateReaders, calibrateRate), measure(1, calibrateAlone)
	if many == nil || alone == nil {
		return nil
	}
	o := &Overhead{CPUPerDelivery: many.Generator.CPUPerMessage, LateP99: alone.Generator.LateP99, DeliveryP99: alone.Distributions[0].P99}
	// With one subscriber, half of the messages are deliveries.
	o.CPUPerPublish = max(2*alone.Generator.CPUPerMessage-o.CPUPerDelivery, 0)
	return o
}
