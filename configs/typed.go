package configs

import "maps"

// AppText returns the settings of one app as they are stored and shown: JSON with numbers and booleans, although
// parsing keeps these as texts. A value that is invalid for its setting stays a text.
func AppText(tree map[string]any) ([]byte, error) {
	out, _ := typed(tree, appKeys).(map[string]any)
	for name, table := range map[string][]key{
		"channel_delta_compression": channelKeys, "channel_history": historyKeys, "channel_snapshot": snapshotKeys,
	} {
		if entries, is := out[name].(map[string]any); is {
			entries = maps.Clone(entries)
			for pattern, entry := range entries {
				entries[pattern] = typed(entry, table)
			}
			out[name] = entries
		}
	}
	if hooks, is := out["webhooks"].([]any); is {
		all := make([]any, len(hooks))
		for i, raw := range hooks {
			all[i] = raw
			if hook, is := raw.(map[string]any); is {
				hook = maps.Clone(hook)
				if batch, is := hook["batch"]; is {
					hook["batch"] = typed(batch, webhookBatchKeys)
				}
				all[i] = hook
			}
		}
		out["webhooks"] = all
	}
	return jsonParser.Marshal(out)
}

// typed returns a structure with the numbers and booleans of a table of keys in their types. In place of a structure
// there may be a boolean or a word.
func typed(raw any, table []key) any {
	tree, is := raw.(map[string]any)
	if !is {
		if raw == "true" || raw == "false" {
			return raw == "true"
		}
		return raw
	}
	out := make(map[string]any, len(tree))
	for name, v := range tree {
		out[name] = v
		k := find(table, name)
		if k == nil || k.kind != boolean && k.kind != integer {
			continue
		}
		if plain, is := v.(word); is {
			v = string(plain)
		}
		if value, ok := k.coerce(v); ok {
			out[name] = value
		}
	}
	return out
}
