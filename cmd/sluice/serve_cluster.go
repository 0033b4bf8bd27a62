package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
)

// clusterPatience bounds how long the start waits for the apps of the cluster.
const clusterPatience = 10 * time.Second

// cluster has the apps of the cluster for a server. A nil cluster has none.
type cluster struct {
	follower *shelf.Follower
	log      *slog.Logger

	mu       sync.Mutex
	problems []string
	// empty is set if there is no app at all.
	empty bool
}

// noApp is the readiness problem if there is no app; docs/troubleshooting.md has it.
const noApp = "there is no app yet: `sluice app add ID` adds one"

// openCluster begins to follow the apps of the cluster, if there is a key for them. The caller must call run of
// the result, and stop in the end.
func openCluster(ctx context.Context, c *configs.Config, b *backend, log *slog.Logger) (in *cluster, stop func(), err error) {
	nothing := func() {}
	if c.Driver == "local" {
		if c.EncryptionKeys != nil {
			log.Warn("apps_encryption_key has no effect: the log is the memory of this process, which has the apps of its configuration")
		}
		return nil, nothing, nil
	}
	keys, err := sealing(c, true)
	if keys == nil || err != nil {
		return nil, nothing, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	f, stop, err := shelf.Follow(ctx, shelf.New(b.table, keys))
	if err != nil {
		return nil, nothing, fmt.Errorf("apps of the cluster: %w", err)
	}
	f.Logger = log
	return &cluster{follower: f, log: log}, stop, nil
}

// joinCluster is openCluster, and lets the log serve the apps that it finds. full is the configuration with
// them.
func joinCluster(ctx context.Context, c *configs.Config, b *backend, log *slog.Logger) (in *cluster, full *configs.Config, stop func(), err error) {
	in, stop, err = openCluster(ctx, c, b, log)
	if err != nil {
		return nil, nil, nil, err
	}
	full = in.with(c, nil)
	// The log must also be told if there are no further apps.
	if in != nil {
		if err := b.serveApps(ctx, full); err != nil {
			stop()
			return nil, nil, nil, fmt.Errorf("apps of the cluster: %w", err)
		}
	}
	return in, full, stop, nil
}

// with returns a configuration with the apps of the cluster. held are the apps in use: one that becomes invalid
// is reported as a problem and stays as it was.
func (in *cluster) with(c *configs.Config, held []configs.App) *configs.Config {
	if in == nil {
		return c
	}
	apps, err := in.follower.Apps()
	var problems []string
	if err != nil {
		problems = append(problems, fmt.Sprintf("apps of the cluster cannot be read, and stay as they were: %v", err))
	}
	trees := map[string]map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		tree, err := treeOf(apps[id])
		if err != nil {
			problems = append(problems, problemOf(id, err))
		}
		trees[id] = tree
	}
	out, refused := c.WithClusterApps(trees, held)
	for _, id := range slices.Sorted(maps.Keys(refused)) {
		problems = append(problems, problemOf(id, refused[id]))
	}
	in.note(problems, len(out.Apps) == 0)
	return out
}

// treeOf returns the settings of an app.
func treeOf(a *shelf.App) (map[string]any, error) {
	if a.Err != nil {
		return nil, a.Err
	}
	return configs.ParseApp(a.Text)
}

// problemOf returns the readiness problem of an app; docs/troubleshooting.md has its beginning.
func problemOf(id string, err error) string {
	return fmt.Sprintf("the app %.100s of the cluster cannot be used: %s", id, oneLine(err))
}

// note sets the readiness problems, and logs those that are new.
func (in *cluster) note(problems []string, empty bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if empty && !in.empty {
		in.log.Warn(noApp)
	}
	in.empty = empty
	known := map[string]bool{}
	for _, p := range in.problems {
		known[p] = true
	}
	for _, p := range problems {
		if !known[p] {
			in.log.Error("an app of the cluster cannot be used; the others go on", "problem", p)
		}
	}
	in.problems = problems
}

// Problems returns which apps cannot be used, and why.
func (in *cluster) Problems() []string {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.empty {
		return append(slices.Clone(in.problems), noApp)
	}
	return in.problems
}

// refuses reports whether any app cannot be used.
func (in *cluster) refuses() bool {
	if in == nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.problems) > 0
}

// run follows the apps until ctx is done, and calls changed after changes.
func (in *cluster) run(ctx context.Context, changed func()) {
	if in != nil {
		in.follower.Run(ctx, changed)
	}
}

// oneLine returns the text of an error without line breaks.
func oneLine(err error) string {
	var e *configs.Error
	if errors.As(err, &e) {
		return joined(e.Problems)
	}
	return err.Error()
}
