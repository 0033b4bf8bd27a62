package configs

import (
	"sort"
	"strings"
	"time"
)

// ChannelHistory limits what can be read of the channels that a pattern matches. Zero values mean the retention
// of the app.
type ChannelHistory struct {
	Pattern     string
	Enabled     bool
	MaxMessages int
	Retention   time.Duration
}

// historyKeys are the keys of an entry of channel_history.
var historyKeys = []key{
	{name: "enabled", kind: boolean, def: true},
	{name: "max_messages", kind: integer, def: int64(0), min: 1, max: 1000},
	{name: "retention_seconds", kind: integer, def: int64(0), min: 1, max: 10 * 365 * 86400},
}

// buildHistories builds channel_history of an app whose retention is known.
func buildHistories(where string, raw any, a *App, p *problems) (out []ChannelHistory) {
	byPattern(where, raw, p, func(at, pattern string, value any) {
		h := ChannelHistory{Pattern: pattern, Enabled: true}
		if word, is := value.(string); is {
			if strings.ToLower(word) != "disabled" {
				p.add("%s is %q, must be disabled or a structure", at, shorten(word))
			}
			h.Enabled = false
		} else if v, ok := structure(at, value, historyKeys, p); ok {
			messages, _ := v["max_messages"].(int64)
			seconds, _ := v["retention_seconds"].(int64)
			h.Enabled, _ = v["enabled"].(bool)
			h.MaxMessages, h.Retention = int(messages), time.Duration(seconds)*time.Second
		}
		// Events beyond the retention cannot be read.
		if a.MaxMessages >= 0 && int64(h.MaxMessages) > a.MaxMessages {
			p.add("%s.max_messages is %d, must not exceed the %d that are kept", at, h.MaxMessages, a.MaxMessages)
		}
		if h.Retention > a.Retention {
			p.add("%s.retention_seconds is %d, must not exceed the %d for which events are kept", at, int(h.Retention/time.Second), int(a.Retention/time.Second))
		}
		out = append(out, h)
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Pattern < out[j].Pattern })
	return out
}

func effectiveHistories(all []ChannelHistory) map[string]any {
	out := map[string]any{}
	for _, h := range all {
		entry := map[string]any{"enabled": h.Enabled}
		if h.MaxMessages > 0 {
			entry["max_messages"] = h.MaxMessages
		}
		if h.Retention > 0 {
			entry["retention_seconds"] = int(h.Retention / time.Second)
		}
		out[h.Pattern] = entry
	}
	return out
}
