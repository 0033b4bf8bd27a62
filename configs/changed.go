package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
)

// retentionKeys are the global keys that can change while a server runs.
var retentionKeys = map[string]bool{
	"history.max_messages": true, "history.max_bytes": true, "history.retention_window_seconds": true,
}

// Changed names the keys in which another configuration differs: those of reading,
// which any server can take over while it runs, those of retention, which one with a
// log on NATS can, and the rest. Apps are compared by their ids and named as wholes, by
// their places in the other configuration.
func (c *Config) Changed(next *Config) (reading, retention, rest []string) {
	for name, value := range c.values {
		switch {
		// Where a secret comes from does not matter to what is in force.
		case name == "apps" || find(keys, name).kind == file || reflect.DeepEqual(value, next.values[name]):
		case retentionKeys[name]:
			retention = append(retention, name)
		default:
			rest = append(rest, name)
		}
	}
	sort.Strings(retention)
	sort.Strings(rest)
	known := 0
	for i := range next.Apps {
		b := next.Apps[i]
		a := c.app(b.ID)
		if a == nil {
			continue
		}
		known++
		if !reflect.DeepEqual(a.retention(), b.retention()) {
			retention = append(retention, fmt.Sprintf("apps[%d].history", i))
		}
		if !reflect.DeepEqual(a.Histories, b.Histories) {
			reading = append(reading, fmt.Sprintf("apps[%d].channel_history", i))
		}
		if !reflect.DeepEqual(a.fixed(), b.fixed()) {
			rest = append(rest, fmt.Sprintf("apps[%d]", i))
		}
	}
	if known != len(c.Apps) || known != len(next.Apps) {
		rest = append(rest, "apps")
	}
	return reading, retention, rest
}

// WithReading is the configuration with the settings of reading of another one.
func (c *Config) WithReading(next *Config) *Config {
	return c.with(next, func(a, b *App) { a.Histories = b.Histories })
}

// WithRetention is the configuration with the settings of retention of another one.
func (c *Config) WithRetention(next *Config) *Config {
	out := c.with(next, func(a, b *App) {
		a.MaxMessages, a.MaxBytes, a.Retention, a.Replicas = b.MaxMessages, b.MaxBytes, b.Retention, b.Replicas
	})
	h := next.History
	out.History.MaxMessages, out.History.MaxBytes, out.History.Retention = h.MaxMessages, h.MaxBytes, h.Retention
	for name := range retentionKeys {
		out.values[name] = next.values[name]
	}
	return out
}

// with copies the configuration and lets take change each app that both have.
func (c *Config) with(next *Config, take func(a, b *App)) *Config {
	out := *c
	out.Apps, out.values = slices.Clone(c.Apps), maps.Clone(c.values)
	for i := range out.Apps {
		if b := next.app(out.Apps[i].ID); b != nil {
			take(&out.Apps[i], b)
		}
	}
	return &out
}

func (c *Config) app(id string) *App {
	for i := range c.Apps {
		if c.Apps[i].ID == id {
			return &c.Apps[i]
		}
	}
	return nil
}

func (a *App) retention() [4]int64 {
	return [4]int64{a.MaxMessages, a.MaxBytes, int64(a.Retention), int64(a.Replicas)}
}

// fixed is what of an app needs a restart to change.
func (a *App) fixed() App {
	out := *a
	out.MaxMessages, out.MaxBytes, out.Retention, out.Replicas, out.Histories, out.SecretFile = 0, 0, 0, 0, nil, ""
	out.Webhooks = slices.Clone(a.Webhooks)
	for i := range out.Webhooks {
		out.Webhooks[i].HeaderFiles = nil
	}
	return out
}
