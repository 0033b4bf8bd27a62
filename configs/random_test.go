package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// TestWeeks24RandomConfigurations writes random keys with random values in each format. A problem names a key
// that was written, and a configuration that loads is printed and loads again.
func TestWeeks24RandomConfigurations(t *testing.T) {
	scalars := append([]string{"development", "production", "127.0.0.1", "0.0.0.0", "nats://u:p@n1:4222", "n1:4222", "100", "2000000", "replicated", "machine", "xdelta3", "/a", "a.b", "change-this-x"}, written...)
	dir := t.TempDir()
	environ := []string{"x=" + `": [{"id": "evil"}]`}
	loaded := 0
	rapid.Check(t, func(t *rapid.T) {
		all := map[string]any{"mode": rapid.SampledFrom([]string{"development", "production"}).Draw(t, "mode")}
		given := []string{"mode", "apps"}
		value := func(k *key) any {
			v := rapid.SampledFrom(scalars).Draw(t, k.name)
			switch {
			// The value is usually of the right kind, so that many configurations load.
			case k.kind == integer && rapid.IntRange(0, 9).Draw(t, "right") > 0:
				v = strconv.FormatInt(max(k.min, rapid.Int64Range(k.min, k.min+5000).Draw(t, "n")), 10)
			case k.kind == choice && rapid.IntRange(0, 9).Draw(t, "right") > 0:
				v = rapid.SampledFrom(k.choices).Draw(t, "choice")
			case k.kind == boolean && rapid.IntRange(0, 9).Draw(t, "right") > 0:
				return rapid.Bool().Draw(t, "b")
			case k.kind == texts && rapid.Bool().Draw(t, "list"):
				return []any{v, "n2:4222"}
			}
			return v
		}
		for range rapid.IntRange(0, 4).Draw(t, "keys") {
			if k := &keys[rapid.IntRange(0, len(keys)-1).Draw(t, "key")]; k.kind != tree {
				put(all, k.name, value(k))
				given = append(given, k.name, strings.Split(k.name, ".")[0])
			}
		}
		var apps []any
		for i := range rapid.IntRange(0, 2).Draw(t, "apps") {
			app := map[string]any{"id": fmt.Sprint(i), "key": fmt.Sprint("k", i), "secret": "s"}
			for range rapid.IntRange(0, 3).Draw(t, "keys of the app") {
				if k := &appKeys[rapid.IntRange(0, len(appKeys)-1).Draw(t, "key of the app")]; k.kind != tree {
					app[k.name] = value(k)
				}
			}
			apps = append(apps, app)
		}
		if apps != nil {
			all["apps"] = apps
		}
		ext := rapid.SampledFrom([]string{".json", ".yaml", ".toml"}).Draw(t, "format")
		var content []byte
		var err error
		switch ext {
		case ".json":
			content, err = json.Marshal(all)
		case ".yaml":
			content, err = yaml.Marshal(all)
		default:
			content, err = toml.Marshal(all)
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "c"+ext)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{File: file, Environ: environ})
		var e *Error
		if errors.As(err, &e) {
			for _, problem := range e.Problems {
				if !slices.ContainsFunc(given, func(name string) bool { return strings.Contains(problem, name) }) {
					t.Errorf("no key that was given is named in %q", problem)
				}
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		loaded++
		printed := filepath.Join(dir, "printed.yaml")
		text, err := c.YAML()
		if err == nil {
			err = os.WriteFile(printed, []byte(filledIn(text)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: printed})
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c.Effective(), again.Effective()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if reading, retention, rest := c.Changed(again); len(retention) > 0 || slices.ContainsFunc(append(reading, rest...), func(k string) bool { return !redactedKey(k) }) {
			t.Fatalf("what was printed differs in %v %v %v", reading, retention, rest)
		}
	})
	if loaded < 10 {
		t.Errorf("only %d configurations were loaded", loaded)
	}
}

// redactedKey reports whether a key is printed as something else than its value.
func redactedKey(name string) bool {
	k := find(keys, name)
	return k == nil || k.kind == secret || k.kind == address || k.name == "nats.url"
}

func TestWeeks24WhatIsPrintedIsNotExpanded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[${}a]{0,8}`).Draw(t, "text")
		if got, err := expandText(unexpanded(text), nil); err != nil || got != text {
			t.Fatalf("%q was printed as %q and read as %q, %v", text, unexpanded(text), got, err)
		}
	})
}
