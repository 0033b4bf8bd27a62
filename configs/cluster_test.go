package configs

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// surroundings are configurations, without a list of apps, in which apps of the cluster are tried.
var surroundings = map[string]string{
	"embedded":          "mode: production\nnats.embedded.max_store: 8623489024\nhistory.max_bytes: 1073741824\n",
	"embedded, for all": "mode: production\nhost: 0.0.0.0\nnats.embedded.max_store: 4328521728\nhistory.max_bytes: 1073741824\n",
	"development":       "mode: development\n",
	"samples":           "mode: production\nallow_sample_secrets: true\n",
	"one server":        "mode: production\nhost: 127.0.0.1\nnats.url: nats://n1:4222\n",
	"replicated":        "mode: production\nnats.url: nats://n1:4222\ndurability: replicated\n",
	"counting":          "mode: production\nnats.url: nats://n1:4222\ndelta_compression.cluster_coordination: true\n",
	"redis":             "mode: production\nadapter.driver: redis\nredis_url: redis://r1\n",
}

const sealedApps = "apps_encryption_key: a-key-for-the-apps-of-the-cluster-in-tests\n"

// plainApp returns an app that is valid in every surrounding.
func plainApp(id string) map[string]any {
	return map[string]any{"id": id, "key": "key-of-" + id, "secret": "a secret of " + id, "history_max_bytes": 64 << 20}
}

// settingsToTry returns values for every setting of an app, at the ends of its range and beyond.
func settingsToTry() map[string][]any {
	out := map[string][]any{
		"secret":        {DemoSecret, "change-this-secret", "Change-This-too", "a good one"},
		"previous_keys": {[]any{map[string]any{"secret": DemoSecret}}, []any{map[string]any{"key": "k2", "secret": "change-this-secret"}}, []any{map[string]any{"key": "key-of-ok", "secret": "s"}}},
		"webhooks":      {[]any{map[string]any{"url": "https://example.com"}}, []any{map[string]any{"url": "ftp://example.com"}}},
		"key":           {"key-of-ok", "key-of-fixed", "a/b", "other"},
	}
	for i := range appKeys {
		k := &appKeys[i]
		switch k.kind {
		case integer:
			values := []int64{k.min - 1, k.min, k.max, k.max + 1}
			if strings.HasPrefix(k.name, "history") {
				values = append(values, 0, 1, 2, 3, 30, 59, 60, 299, 1<<20, 2<<20, 3<<30, 9e10)
			}
			for _, n := range values {
				out[k.name] = append(out[k.name], n)
			}
		case boolean:
			out[k.name] = []any{true, false}
		case choice:
			for _, c := range k.choices {
				out[k.name] = append(out[k.name], c)
			}
		}
	}
	return out
}

// asInFile returns the error of a server with these apps in its file.
func asInFile(t *testing.T, base string, apps ...map[string]any) error {
	t.Helper()
	text, err := json.Marshal(apps)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(Sources{File: write(t, "file.yaml", base+"apps: "+string(text)+"\n")})
	if err != nil {
		return err
	}
	return c.CheckSecrets()
}

// TestTrust03AnAppIsRefusedAloneAndAsInTheFile tries every setting of an app in every surrounding: what is
// refused in a file is refused in the cluster, nothing else is, and no other app is affected.
func TestTrust03AnAppIsRefusedAloneAndAsInTheFile(t *testing.T) {
	for name, base := range surroundings {
		t.Run(name, func(t *testing.T) {
			fixed := plainApp("fixed")
			text, _ := json.Marshal([]any{fixed})
			c, err := Load(Sources{File: write(t, "c.yaml", base+sealedApps+"apps: "+string(text)+"\n")})
			if err != nil {
				t.Fatal(err)
			}
			all, tried := settingsToTry(), 0
			for _, key := range slices.Sorted(maps.Keys(all)) {
				for _, value := range all[key] {
					tried++
					tree := plainApp("x")
					tree[key] = value
					inFile := asInFile(t, base, fixed, plainApp("ok"), plainApp("zz"), tree)
					trees := map[string]map[string]any{"ok": parsed(t, plainApp("ok")), "x": parsed(t, tree), "zz": parsed(t, plainApp("zz"))}
					full, refused := c.WithClusterApps(trees, nil)
					if what := fmt.Sprintf("%s: %v", key, value); (inFile != nil) != (refused["x"] != nil) {
						t.Errorf("%s: as an app of the file %v, of the cluster %v", what, inFile, refused["x"])
					} else if full.app("ok") == nil || full.app("zz") == nil || len(refused) > 1 {
						t.Errorf("%s: the others are refused as well: %v", what, refused)
					}
					if _, err := c.With(full); err != nil {
						t.Errorf("%s: %v; all apps stop here", key, err)
					}
				}
			}
			if tried < 100 {
				t.Errorf("only %d were tried", tried)
			}
		})
	}
}

// parsed returns an app as it is read from the cluster.
func parsed(t *testing.T, tree map[string]any) map[string]any {
	t.Helper()
	text, err := AppText(tree)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ParseApp(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTrust03AppsInUseStayWhatTheyWere: apps in use keep their settings, and have precedence over new ones.
func TestTrust03AppsInUseStayWhatTheyWere(t *testing.T) {
	c, err := Load(Sources{File: write(t, "c.yaml", surroundings["embedded"]+sealedApps+"apps: []\n")})
	if err != nil {
		t.Fatal(err)
	}
	sized := func(id string, bytes int64, more ...string) map[string]any {
		tree := plainApp(id)
		tree["history_max_bytes"] = bytes
		for _, key := range more {
			tree[key] = map[string]any{"webhooks": []any{map[string]any{"url": "https://example.com"}}, "enabled": false, "max_event_payload_in_kb": 1024, "history_replicas": 3}[key]
		}
		return parsed(t, tree)
	}
	inUse, refused := c.WithClusterApps(map[string]map[string]any{"m": sized("m", 5<<30), "n": sized("n", 2<<30)}, nil)
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	for name, step := range map[string]struct {
		trees map[string]map[string]any
		// bytes holds the size of each app afterwards; an app that is missing is not used.
		bytes map[string]int64
		says  map[string]string
	}{
		"a new one has no room":       {map[string]map[string]any{"a": sized("a", 2<<30), "m": sized("m", 5<<30), "n": sized("n", 2<<30)}, map[string]int64{"m": 5 << 30, "n": 2 << 30}, map[string]string{"a": "nats.embedded.max_store"}},
		"one grows too much":          {map[string]map[string]any{"m": sized("m", 9e10), "n": sized("n", 2<<30, "enabled")}, map[string]int64{"m": 5 << 30, "n": 2 << 30}, map[string]string{"m": "nats.embedded.max_store"}},
		"the first webhook":           {map[string]map[string]any{"m": sized("m", 6<<30), "n": sized("n", 2<<30, "webhooks")}, map[string]int64{"m": 6 << 30, "n": 2 << 30}, map[string]string{"n": "webhooks 1073741824"}},
		"one shrinks beside a new":    {map[string]map[string]any{"m": sized("m", 1<<30), "z": sized("z", 4<<30)}, map[string]int64{"m": 1 << 30}, map[string]string{"z": "nats.embedded.max_store"}},
		"one is disabled":             {map[string]map[string]any{"m": sized("m", 5<<30, "enabled"), "n": sized("n", 2<<30)}, map[string]int64{"m": 5 << 30, "n": 2 << 30}, nil},
		"one gets an impossible copy": {map[string]map[string]any{"m": sized("m", 5<<30, "history_replicas"), "n": sized("n", 2<<30)}, map[string]int64{"m": 5 << 30, "n": 2 << 30}, map[string]string{"m": "history_replicas is 3"}},
		"one cannot be read":          {map[string]map[string]any{"m": nil, "n": sized("n", 1<<30), "o": nil}, map[string]int64{"m": 5 << 30, "n": 1 << 30}, nil},
		"one is gone":                 {map[string]map[string]any{"n": sized("n", 2<<30), "z": sized("z", 6<<30)}, map[string]int64{"n": 2 << 30, "z": 6 << 30}, nil},
		"larger events, larger log":   {map[string]map[string]any{"m": sized("m", 5<<30), "n": sized("n", 3<<30, "max_event_payload_in_kb")}, map[string]int64{"m": 5 << 30, "n": 3 << 30}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			full, refused := c.WithClusterApps(step.trees, inUse.Apps)
			got := map[string]int64{}
			for i := range full.Apps {
				got[full.Apps[i].ID] = full.Apps[i].MaxBytes
			}
			if !maps.Equal(got, step.bytes) || len(refused) != len(step.says) {
				t.Errorf("apps %v, want %v; refused %v", got, step.bytes, refused)
			}
			for id, says := range step.says {
				if refused[id] == nil || !strings.Contains(refused[id].Error(), says) {
					t.Errorf("%s: %v, want %q", id, refused[id], says)
				}
			}
			merged, err := inUse.With(full)
			if err != nil {
				t.Fatalf("all apps stop here: %v", err)
			}
			if n := merged.app("n"); step.trees["n"]["enabled"] != nil && n.Enabled {
				t.Error("n could not be disabled")
			}
		})
	}
}

// TestTrust03AFileWaitsForNoAppOfTheCluster: a change of the file may make apps of the cluster invalid. That
// is no reason to refuse the file, and the apps keep their previous settings where possible.
func TestTrust03AFileWaitsForNoAppOfTheCluster(t *testing.T) {
	base := "mode: production\napps: []\n" + sealedApps
	load := func(more string) *Config {
		if !strings.Contains(more, "max_store") {
			more += "nats.embedded.max_store: 8623489024\n"
		}
		c, err := Load(Sources{File: write(t, "c.yaml", base+more)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tree := func(id string, more map[string]any) map[string]any {
		out := plainApp(id)
		delete(out, "history_max_bytes")
		maps.Copy(out, more)
		return parsed(t, out)
	}
	trees := map[string]map[string]any{
		"a": tree("a", nil), "b": tree("b", map[string]any{"max_event_payload_in_kb": 1024}), "c": tree("c", map[string]any{"secret": "change-this-secret"}),
	}
	inForce, refused := load("allow_sample_secrets: true\nhistory.max_bytes: 1073741824\n").WithClusterApps(trees, nil)
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	for name, c := range map[string]struct{ file, used, refused string }{
		"logs grow beyond the disk":     {"allow_sample_secrets: true\nhistory.max_bytes: 4294967296\n", "abc", "bc"},
		"logs become too small":         {"allow_sample_secrets: true\nhistory.max_bytes: 2097152\n", "abc", "b"},
		"samples are taken no more":     {"history.max_bytes: 1073741824\n", "ab", "c"},
		"copies, after a restart":       {"allow_sample_secrets: true\nhistory.max_bytes: 1073741824\nnats.url: nats://n1\ndurability: replicated\n", "abc", ""},
		"a smaller disk, for a restart": {"allow_sample_secrets: true\nhistory.max_bytes: 1073741824\nnats.embedded.max_store: 2147483648\n", "abc", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := load(c.file)
			basis, err := inForce.Basis(file)
			if err != nil {
				t.Fatal(err)
			}
			full, refused := basis.WithClusterApps(trees, inForce.Apps)
			var used string
			for i := range full.Apps {
				used += full.Apps[i].ID
			}
			if got := strings.Join(slices.Sorted(maps.Keys(refused)), ""); used != c.used || got != c.refused {
				t.Errorf("used %s, want %s; refused %v, want %s", used, c.used, refused, c.refused)
			}
			next := *file
			next.Apps = full.Apps
			if _, err := inForce.With(&next); err != nil {
				t.Errorf("all apps stop here: %v", err)
			}
		})
	}
}

// TestAppTextHasNumbersAndTruthValues: settings are read as written, and kept and shown with their types.
func TestAppTextHasNumbersAndTruthValues(t *testing.T) {
	const written = `
id: 0042
key: "17"
secret: true
enabled: false
max_connections: 100
max_batch: 7
max_event_batch_size: ${N}
slow_client_policy: close
allowed_origins: [1, true]
channel_delta_compression: {"a*": disabled, b: {enabled: true, max_conflation_keys: 5, conflation_key: 12}}
channel_history: {"a*": {enabled: false, max_messages: 9}, b: disabled}
channel_snapshot: {"a*": true, b: {max_values: 10}}
webhooks: [{url: "https://h", batch: true}, {url: "https://i", batch: {size: 3}, headers: {a: 1}}]
previous_keys: [{key: 1, secret: 2}]
`
	tree, err := ParseApp([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": "0042", "key": "17", "secret": "true", "enabled": false, "max_connections": 100.0, "max_batch": "7", "max_event_batch_size": "${N}",
		"slow_client_policy": "close", "allowed_origins": []any{"1", "true"},
		"channel_delta_compression": map[string]any{"a*": "disabled", "b": map[string]any{"enabled": true, "max_conflation_keys": 5.0, "conflation_key": "12"}},
		"channel_history":           map[string]any{"a*": map[string]any{"enabled": false, "max_messages": 9.0}, "b": "disabled"},
		"channel_snapshot":          map[string]any{"a*": true, "b": map[string]any{"max_values": 10.0}},
		"webhooks":                  []any{map[string]any{"url": "https://h", "batch": true}, map[string]any{"url": "https://i", "batch": map[string]any{"size": 3.0}, "headers": map[string]any{"a": "1"}}},
		"previous_keys":             []any{map[string]any{"key": "1", "secret": "2"}},
	}
	// As it is read, and as one that kept texts reads it.
	for range 2 {
		text, err := AppText(tree)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if tree, err = ParseApp(text); err != nil {
			t.Fatal(err)
		}
	}
}
