package configs

import (
	"fmt"
	"reflect"
	"sort"
)

// retentionKeys are the global keys that can change while a server runs.
var retentionKeys = map[string]bool{
	"history.max_messages": true, "history.max_bytes": true, "history.retention_window_seconds": true,
}

// Changed names the keys in which another configuration differs: those of reading,
// which any server can take over while it runs, those of retention, which one with a
// log on NATS can, and the rest. An app is named as a whole.
func (c *Config) Changed(next *Config) (reading, retention, rest []string) {
	for name, value := range c.values {
		switch {
		case name == "apps" || reflect.DeepEqual(value, next.values[name]):
		case retentionKeys[name]:
			retention = append(retention, name)
		default:
			rest = append(rest, name)
		}
	}
	sort.Strings(retention)
	sort.Strings(rest)
	if len(c.Apps) != len(next.Apps) {
		return nil, retention, append(rest, "apps")
	}
	for i := range c.Apps {
		a, b := c.Apps[i], next.Apps[i]
		if a.MaxMessages != b.MaxMessages || a.MaxBytes != b.MaxBytes || a.Retention != b.Retention || a.Replicas != b.Replicas {
			retention = append(retention, fmt.Sprintf("apps[%d].history", i))
		}
		if !reflect.DeepEqual(a.Histories, b.Histories) {
			reading = append(reading, fmt.Sprintf("apps[%d].channel_history", i))
		}
		b.Histories = a.Histories
		b.MaxMessages, b.MaxBytes, b.Retention, b.Replicas = a.MaxMessages, a.MaxBytes, a.Retention, a.Replicas
		if !reflect.DeepEqual(a, b) {
			rest = append(rest, fmt.Sprintf("apps[%d]", i))
		}
	}
	return reading, retention, rest
}
