package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/watch"
)

// retryPause is the time between attempts to adopt what has failed.
const retryPause = 5 * time.Second

// reading reads a configuration again after changes.
type reading struct {
	*reloader
	// file is the path of the configuration, empty if there is none; load reads all of it.
	file string
	load func() (*configs.Config, error)

	files watch.Files
	// others gets a value when the apps of the cluster have changed.
	others chan struct{}
	// keys are the earlier keys of apps that the log accepts.
	keys string
}

// reloading reads the configuration again at each SIGHUP, and when its files have changed, until stop is called.
// stop waits for the end of the goroutines.
func reloading(ctx context.Context, r *reloader, file string, load func() (*configs.Config, error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	in := &reading{reloader: r, file: file, load: load, others: make(chan struct{}, 1), keys: countingKeys(r.inForce, time.Now())}
	var running sync.WaitGroup
	running.Go(func() { in.run(ctx, hangup) })
	running.Go(func() {
		r.cluster.run(ctx, func() {
			select {
			case in.others <- struct{}{}:
			default:
			}
		})
	})
	return func() {
		signal.Stop(hangup)
		cancel()
		running.Wait()
	}
}

func (in *reading) run(ctx context.Context, hangup <-chan os.Signal) {
	// A change between the start and the first look would not be noticed.
	if in.look(time.Now()); in.file != "" && in.inForce.Watch.Enabled {
		in.again(ctx, false)
	}
	every := in.inForce.Watch.Interval
	looks := time.NewTicker(every)
	defer looks.Stop()
	retries := time.NewTicker(retryPause)
	defer retries.Stop()
	for {
		if in.inForce.Watch.Interval != every {
			every = in.inForce.Watch.Interval
			looks.Reset(every)
		}
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			in.again(ctx, true)
		case <-in.others:
			in.takeCluster(ctx)
		case now := <-looks.C:
			if in.inForce.Watch.Enabled && in.look(now) {
				in.again(ctx, false)
			}
		case now := <-retries.C:
			in.retry(ctx, now)
		}
	}
}

// look reports whether the files have changed.
func (in *reading) look(now time.Time) bool {
	if in.file == "" {
		return false
	}
	return in.files.Changed(now, append([]string{in.file}, in.inForce.Files()...)...)
}

// retry retries what has failed. The retries are independent of each other.
func (in *reading) retry(ctx context.Context, now time.Time) {
	if in.isRefused() && in.inForce.Watch.Enabled {
		// The missing part may be in a file that is not watched yet.
		in.again(ctx, false)
	}
	if in.isMissed() || in.unsure != nil {
		in.takeCluster(ctx)
	}
	if keys := countingKeys(in.inForce, now); keys != in.keys && in.serveApps != nil {
		if err := in.serveApps(ctx, in.inForce); err == nil {
			in.keys = keys
		}
	}
}

// again reads the configuration. asked says that an operator has requested it and is told the result in any
// case.
func (in *reading) again(ctx context.Context, asked bool) {
	if asked && in.busy != nil {
		defer in.busy()()
	}
	next, err := in.load()
	if err != nil {
		in.tellRefused(err, asked)
		return
	}
	in.takeOver(ctx, next, asked)
}

func (in *reading) takeOver(ctx context.Context, next *configs.Config, asked bool) {
	if err := in.reload(ctx, next, asked); err != nil {
		in.tellRefused(err, asked)
	}
}

// takeCluster adopts the apps of the cluster, and what is still pending of the last valid file. It does not wait
// for a better file.
func (in *reading) takeCluster(ctx context.Context) {
	err := in.reload(ctx, in.wanted, false)
	switch {
	case in.cluster == nil && err != nil:
		in.tellRefused(err, false)
	case in.miss(err):
		in.log.Error("the apps of the cluster could not be put in force; it is tried again", "error", err)
	}
}

func (in *reading) tellRefused(err error, asked bool) {
	if in.refuse(err) || asked {
		in.log.Error("the configuration was read again and has errors; nothing was changed", "error", err)
	}
}

// countingKeys identifies the earlier keys of apps that are valid at a time.
func countingKeys(c *configs.Config, now time.Time) string {
	var b strings.Builder
	for i := range c.Apps {
		for j, k := range c.Apps[i].Earlier {
			if k.Counts(now) {
				fmt.Fprintf(&b, "%s/%d ", c.Apps[i].ID, j)
			}
		}
	}
	return b.String()
}
