package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/gateway/client"
)

// batchSize is the default limit of a server for a batch.
const batchSize = 10

type demoOptions struct {
	target
	channel  string
	interval time.Duration
	count    int
	verbose  bool
}

func newDemoCommand() *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Publish live telemetry of this machine",
		Long: `Publish live telemetry of this machine: processor, memory, disks, network,
processes and load. Each device gets one message per interval; its member
"device" is the conflation key, so that a message is a delta of the one before
about the same device.

Watch it on the console page of the server, or with: sluice subscribe host-metrics`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.target.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.channel, "channel", "host-metrics", "channel to publish to")
	f.DurationVar(&o.interval, "interval", time.Second, "time between samples, at least 50ms")
	f.IntVarP(&o.count, "count", "n", 0, "leave after this many samples, 0 for never")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print every message")
	return cmd
}

func (o *demoOptions) run(cmd *cobra.Command) error {
	switch {
	case o.interval < 50*time.Millisecond:
		return usage("--interval is %v, must be at least 50ms", o.interval)
	case o.count < 0:
		return usage("--count is %d, must not be negative", o.count)
	}
	ctx, out, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	api, err := o.signed(cmd)
	if err != nil {
		return err
	}
	s, err := newSampler(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	events, bytes, failures := 0, 0, 0
	defer func() {
		if events > 0 {
			fmt.Fprintf(stderr, "published %s, %s of data\n", counted(events, "message"), counted(bytes, "byte"))
		}
	}()
	// Each reading that fails is reported once.
	complained := map[string]bool{}
	for samples := 0; o.count == 0 || samples < o.count; {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			facets, errs := s.sample(ctx, now)
			for _, err := range errs {
				if ctx.Err() == nil && !complained[err.Error()] && len(complained) < 100 {
					complained[err.Error()] = true
					fmt.Fprintf(stderr, "left out: %v\n", err)
				}
			}
			if err := publishFacets(ctx, api, o.channel, facets); ctx.Err() != nil {
				return nil
			} else if err != nil {
				// A server that never answered is a mistake of the user; one that goes away may come back.
				if events == 0 {
					return o.explain(err)
				}
				if failures++; failures == 1 {
					fmt.Fprintf(stderr, "publishing failed, trying on: %v\n", err)
				}
				continue
			}
			if failures > 0 {
				fmt.Fprintf(stderr, "publishing again after %d failures\n", failures)
				failures = 0
			}
			if samples++; samples == 1 {
				fmt.Fprintf(stderr, "publishing %d messages every %v to %s; watch at %s/ or with `sluice subscribe %s`; Ctrl-C to stop\n",
					len(facets), o.interval, o.channel, o.url, o.channel)
			}
			for _, f := range facets {
				events++
				bytes += len(f.data)
				if o.verbose {
					fmt.Fprintf(out, "%s %s\n", f.event, f.data)
				}
			}
		}
	}
	return nil
}

// publishFacets publishes one sample in as few requests as possible.
func publishFacets(ctx context.Context, api *client.Signed, channel string, facets []facet) error {
	for len(facets) > 0 {
		n := min(batchSize, len(facets))
		batch := make([]client.Publish, n)
		for i, f := range facets[:n] {
			batch[i] = client.Publish{Name: f.event, Channel: channel, Data: string(f.data)}
		}
		if err := api.PublishBatch(ctx, batch...); err != nil {
			return err
		}
		facets = facets[n:]
	}
	return nil
}
