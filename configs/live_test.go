package configs

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type read struct {
	c   *Config
	err error
}

func reread(t *testing.T, text string) read {
	t.Helper()
	c, err := loadFile(t, "c.yaml", text)
	return read{c, err}
}

// another returns a value that a key does not have by default.
func another(k *key) string {
	switch k.kind {
	case boolean:
		return fmt.Sprint(k.def != true)
	case integer:
		n, _ := k.def.(int64)
		if k.max != 0 && n+1 > k.max {
			return fmt.Sprint(n - 1)
		}
		return fmt.Sprint(max(n+1, k.min))
	case choice:
		return k.choices[len(k.choices)-1]
	case duration:
		return "7s"
	}
	return "some"
}

// TestRun02LiveKeysAreTakenOverWhole changes each key that can change while a server runs, and compares the
// result with a configuration that was read that way.
func TestRun02LiveKeysAreTakenOverWhole(t *testing.T) {
	const apps = "\napps: [{id: a, key: k, secret: sssssssssssssssssssssssssssssssss}]\nhost: 127.0.0.1\n"
	before := reread(t, apps)
	if before.err != nil {
		t.Fatal(before.err)
	}
	seen := 0
	for i := range keys {
		k := &keys[i]
		if live[k.name] == nil {
			continue
		}
		seen++
		t.Run(k.name, func(t *testing.T) {
			next := reread(t, k.name+": "+another(k)+apps)
			if next.err != nil {
				t.Fatal(next.err)
			}
			taken, retention, rest := before.c.Changed(next.c)
			if want := []string{k.name}; !reflect.DeepEqual(taken[:min(1, len(taken))], want) || len(retention)+len(rest) > 0 {
				// Settings of apps that derive from it change with it.
				if len(taken) == 0 || !strings.Contains(strings.Join(taken, " "), k.name) || len(retention)+len(rest) > 0 {
					t.Errorf("changed: %v, %v, %v", taken, retention, rest)
				}
			}
			got, err := before.c.With(next.c)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, next.c) {
				t.Errorf("with %s the configuration is\n%+v, want\n%+v", k.name, got, next.c)
			}
			if again, _, _ := got.Changed(next.c); len(again) > 0 {
				t.Errorf("it is still different: %v", again)
			}
		})
	}
	if seen != len(live) {
		t.Errorf("%d of %d live keys are in the table", seen, len(live))
	}
}

// TestRun02WhatIsNotLiveStays changes all other keys one by one.
func TestRun02WhatIsNotLiveStays(t *testing.T) {
	const apps = "\napps: [{id: a, key: k, secret: sssssssssssssssssssssssssssssssss}]\n"
	before := reread(t, "host: 127.0.0.1"+apps)
	for i := range keys {
		k := &keys[i]
		if Live(k.name) || k.kind == file || k.kind == tree || k.kind == texts || k.later != nil || k.kind == text || k.kind == address || k.kind == secret {
			continue
		}
		host := "\nhost: 127.0.0.1\n"
		next := reread(t, k.name+": "+another(k)+host+apps)
		if next.err != nil {
			continue // it conflicts with the other settings
		}
		taken, retention, rest := before.c.Changed(next.c)
		if reflect.DeepEqual(before.c.values[k.name], next.c.values[k.name]) {
			continue // it has no alternative
		}
		if strings.Join(rest, " ") == "" || len(taken)+len(retention) > 0 {
			t.Errorf("%s: changed %v, %v, %v", k.name, taken, retention, rest)
		}
		got, err := before.c.With(next.c)
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
			continue
		}
		if !reflect.DeepEqual(got.values[k.name], before.c.values[k.name]) {
			t.Errorf("%s was taken over", k.name)
		}
	}
}

// TestNoSecretIsMadeUpWhileTheModeWaits: before, while a change of the mode waited for a restart, a server in
// production mode used the ids of its apps as their secrets.
func TestNoSecretIsMadeUpWhileTheModeWaits(t *testing.T) {
	read := func(text string) *Config { return load(t, Sources{File: write(t, "c.yaml", text)}) }
	const own = "host: 127.0.0.1\napps: [{id: a, key: k, secret: sssssssssssssssssssssssssssssssss}]\n"
	production, development := read("mode: production\n"+own), read("mode: development\n"+own)
	if _, err := production.With(development); err != nil {
		t.Errorf("with a secret of its own: %v", err)
	}
	for _, text := range []string{"apps: [{id: a}]\n", "apps: [{id: a, key: k}]\n", "apps: []\n"} {
		next := read("mode: development\n" + text)
		if _, err := production.With(next); err == nil {
			t.Errorf("%s is taken over in production mode", text)
		}
		if _, err := development.With(next); err != nil {
			t.Errorf("%s in development mode: %v", text, err)
		}
	}
}

func TestRun02PreviousKeysAreChecked(t *testing.T) {
	for name, c := range map[string]struct{ text, problem string }{
		"one that counts for a while": {`[{key: old, secret: s, until: "2031-01-01T00:00:00Z"}]`, ""},
		"another secret alone":        {`[{secret: s}]`, ""},
		"without end":                 {`[{key: old, secret: s}]`, ""},
		"without quotes":              {`[{key: old, secret: s, until: 2031-01-01T00:00:00+02:00}]`, ""},
		"no secret":                   {`[{key: old}]`, "previous_keys[0].secret is missing"},
		"a time without a zone":       {`[{key: old, secret: s, until: "2031-01-01T00:00:00"}]`, "until is"},
		"a bad key":                   {`[{key: a/b, secret: s}]`, "previous_keys[0].key is"},
		"that of another app":         {`[{key: kb, secret: s}]`, "which apps[1] has"},
		"an unknown word":             {`[{key: old, secret: s, untill: x}]`, "did you mean"},
		"no list":                     {`{key: old}`, "must be a list"},
		"too many":                    {"[" + strings.Repeat("{key: old, secret: s}, ", 17) + "]", "the limit is 16"},
	} {
		t.Run(name, func(t *testing.T) {
			got := reread(t, "host: 127.0.0.1\napps:\n  - {id: a, key: ka, secret: sa, previous_keys: "+c.text+"}\n  - {id: b, key: kb, secret: sb}\n")
			switch {
			case c.problem == "" && got.err != nil:
				t.Fatal(got.err)
			case c.problem != "" && (got.err == nil || !strings.Contains(got.err.Error(), c.problem)):
				t.Fatalf("got %v, want %q", got.err, c.problem)
			}
		})
	}
	got := reread(t, "host: 127.0.0.1\napps:\n  - {id: a, key: ka, secret: sa, previous_keys: [{secret: s, until: \"2031-01-01T02:00:00+02:00\"}]}\n")
	if k := got.c.Apps[0].Earlier[0]; k.Key != "ka" || !k.Until.Equal(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", k)
	}
}
