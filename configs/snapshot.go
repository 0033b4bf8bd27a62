package configs

import "sort"

// ChannelSnapshot says whether subscriptions of the channels that a pattern matches begin with the newest event
// of each conflation value. MaxValues bounds these; 0 means the default.
type ChannelSnapshot struct {
	Pattern   string
	Enabled   bool
	MaxValues int
}

// snapshotKeys are the keys of an entry of channel_snapshot.
var snapshotKeys = []key{
	{name: "enabled", kind: boolean, def: true},
	{name: "max_values", kind: integer, def: int64(0), min: 1, max: 100_000},
}

func buildSnapshots(where string, raw any, p *problems) (out []ChannelSnapshot) {
	byPattern(where, raw, p, func(at, pattern string, value any) {
		s := ChannelSnapshot{Pattern: pattern}
		if on, is := snapshotKeys[0].coerce(value); is {
			s.Enabled, _ = on.(bool)
		} else if _, is := value.(map[string]any); !is {
			p.add("%s must be true, false or a structure", at)
			return
		} else {
			entry, ok := structure(at, value, snapshotKeys, p)
			if !ok {
				return
			}
			values, _ := entry["max_values"].(int64)
			s.Enabled, _ = entry["enabled"].(bool)
			s.MaxValues = int(values)
		}
		out = append(out, s)
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Pattern < out[j].Pattern })
	return out
}

func effectiveSnapshots(all []ChannelSnapshot) map[string]any {
	out := map[string]any{}
	for _, s := range all {
		entry := map[string]any{"enabled": s.Enabled}
		if s.MaxValues > 0 {
			entry["max_values"] = s.MaxValues
		}
		out[s.Pattern] = entry
	}
	return out
}
