package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/kv"
)

// clusterRig is a server that adopts apps of the cluster, without its sockets.
type clusterRig struct {
	*testing.T
	shelf  *shelf.Shelf
	follow func() // makes the follower read
	*reading
	file string
	// broken is the error that the log returns.
	broken error
}

func newClusterRig(t *testing.T, text string) *clusterRig {
	r := &clusterRig{T: t, file: filepath.Join(t.TempDir(), "c.yaml")}
	c := r.write(text)
	keys, err := sealing(c, false)
	if err != nil {
		t.Fatal(err)
	}
	table := kv.NewMemoryTable(nil)
	r.shelf = shelf.New(table, keys)
	b := &backend{
		table:     table,
		serveApps: func(context.Context, *configs.Config) error { return r.broken },
		retain:    func(context.Context, *configs.Config) error { return nil },
	}
	log := slog.New(slog.DiscardHandler)
	in, full, stop, err := joinCluster(t.Context(), c, b, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	r.reading = &reading{
		reloader: &reloader{backend: b, apps: app.NewRegistry(appsOf(full)...), log: log, cluster: in, inForce: full, wanted: c},
		file:     r.file, load: func() (*configs.Config, error) { return configs.Load(configs.Sources{File: r.file}) },
	}
	r.follow = func() {
		f, stop, err := shelf.Follow(t.Context(), r.shelf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		in.follower = f
	}
	return r
}

func (r *clusterRig) write(text string) *configs.Config {
	r.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	c, err := configs.Load(configs.Sources{File: r.file})
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// put stores an app without the checks of the command, and makes the server adopt it.
func (r *clusterRig) put(id string, more map[string]any) {
	r.Helper()
	tree := map[string]any{"id": id, "key": "key-of-" + id, "secret": "a secret of " + id, "history_max_bytes": 1 << 30}
	for key, value := range more {
		tree[key] = value
	}
	text, err := json.Marshal(tree)
	if err != nil {
		r.Fatal(err)
	}
	was, err := r.shelf.Get(r.Context(), id)
	if errors.Is(err, shelf.ErrNotThere) {
		err = r.shelf.Add(r.Context(), id, text)
	} else if err == nil {
		err = r.shelf.Set(r.Context(), was, text)
	}
	if err != nil {
		r.Fatal(err)
	}
	r.follow()
	r.takeCluster(r.Context())
}

func (r *clusterRig) says() string { return strings.Join(r.problems(), "\n") }

// TestTrust03OneAppOfTheClusterStopsNoOther: an app that is not valid beside the others is reported and
// refused alone. Neither other apps nor the file wait for it.
func TestTrust03OneAppOfTheClusterStopsNoOther(t *testing.T) {
	const base = "mode: production\nhost: 0.0.0.0\nnats.embedded.max_store: 4328521728\napps: []\napps_encryption_key: a-key-for-the-apps-of-the-cluster-in-tests\n"
	for name, bad := range map[string]map[string]any{
		"too large":         {"history_max_bytes": 90000000000},
		"too small":         {"history_max_bytes": 1000},
		"kept too shortly":  {"history_retention_seconds": 30},
		"copies":            {"history_replicas": 3},
		"a sample":          {"secret": "change-this-secret"},
		"a sample before":   {"previous_keys": []any{map[string]any{"secret": configs.DemoSecret}}},
		"no room for hooks": {"history_max_bytes": 3 << 30, "webhooks": []any{map[string]any{"url": "https://example.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newClusterRig(t, base)
			r.put("ok", nil)
			r.put("bad", bad)
			if r.apps.ByID("bad") != nil || !strings.Contains(r.says(), "the app bad of the cluster cannot be used") || strings.Contains(r.says(), "app ok") {
				t.Errorf("readiness says %q", r.says())
			}
			r.put("ok", map[string]any{"enabled": false})
			if a := r.apps.ByID("ok"); a == nil || a.Enabled {
				t.Error("the other app could not be disabled")
			}
			r.write(base + "log.level: debug\n")
			r.again(t.Context(), true)
			if r.isRefused() || r.inForce.LogLevel != "debug" {
				t.Errorf("the file could not be read again: %s", r.says())
			}
			r.put("bad", nil)
			if r.apps.ByID("bad") == nil || r.says() != "" {
				t.Errorf("mended, and readiness says %q", r.says())
			}
			// An app in use keeps its settings.
			r.put("bad", bad)
			if a := r.apps.ByID("bad"); a == nil || a.Secret != "a secret of bad" || !strings.Contains(r.says(), "the app bad of the cluster cannot be used") {
				t.Errorf("an app in use is %+v, and readiness says %q", a, r.says())
			}
		})
	}
}

// TestTrust03RoomThatIsGivenBackIsUsed: the log of an app shrinks after the apps were adopted, and a refused
// app gets the room.
func TestTrust03RoomThatIsGivenBackIsUsed(t *testing.T) {
	r := newClusterRig(t, "mode: production\nhost: 127.0.0.1\nnats.embedded.max_store: 4328521728\napps: []\napps_encryption_key: a-key-for-the-apps-of-the-cluster-in-tests\n")
	r.put("ok", map[string]any{"history_max_bytes": 3 << 30})
	r.put("new", map[string]any{"history_max_bytes": 2 << 30})
	if r.apps.ByID("new") != nil {
		t.Fatal("there is no room for the new one")
	}
	r.put("ok", map[string]any{"history_max_bytes": 2 << 30})
	if r.apps.ByID("new") == nil || r.says() != "" {
		t.Errorf("there is room, and readiness says %q", r.says())
	}
}

// TestTrust03AppsThatWaitAreInReadiness: an error that keeps all changes from being adopted is reported and
// counted until it is over.
func TestTrust03AppsThatWaitAreInReadiness(t *testing.T) {
	r := newClusterRig(t, "mode: production\nhost: 127.0.0.1\napps: []\napps_encryption_key: a-key-for-the-apps-of-the-cluster-in-tests\n")
	r.register(prometheus.NewRegistry(), "")
	r.broken = errors.New("no answer")
	r.put("ok", nil)
	r.takeCluster(t.Context())
	if says := r.says(); !strings.Contains(says, missedApps) || !strings.Contains(says, "no answer") || r.refusals.Load() != 2 {
		t.Errorf("readiness says %q, and %d were counted", says, r.refusals.Load())
	}
	r.broken = nil
	r.takeCluster(t.Context())
	if r.says() != "" || r.apps.ByID("ok") == nil {
		t.Errorf("readiness says %q", r.says())
	}
}
