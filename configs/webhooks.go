package configs

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is an address that is told of events in an app's channels.
type Webhook struct {
	URL            string
	Events         []string
	Prefix, Suffix string
	Headers        map[string]Secret
	// HeaderFiles are the files of headers by name; nil without any.
	HeaderFiles map[string]string
	Batch       bool
	BatchTime   time.Duration
	BatchSize   int
}

var headerKeys = []key{{name: "file", kind: file, def: ""}}

// webhookEvents are the event names of protocol section 2.6.
var webhookEvents = []string{
	"channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count",
}

var webhookKeys = []key{
	{name: "url", kind: text, def: ""},
	{name: "event_types", kind: texts, def: []string{}},
	{name: "filter", kind: tree},
	{name: "headers", kind: tree},
	{name: "batch", kind: tree},
}

var webhookFilterKeys = []key{
	{name: "channel_name_starts_with", kind: text, def: ""},
	{name: "channel_name_ends_with", kind: text, def: ""},
}

var webhookBatchKeys = []key{
	{name: "enabled", kind: boolean, def: true},
	{name: "duration_ms", kind: integer, def: int64(50), min: 1, max: 10000, unit: "ms"},
	{name: "size", kind: integer, def: int64(50), min: 1, max: 1000},
}

// maxWebhooks bounds the addresses of one app. Each costs a consumer.
const maxWebhooks = 20

// ownHeaders are set by every webhook or by the connection.
var ownHeaders = []string{
	"Content-Type", "X-Pusher-Key", "X-Pusher-Signature", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade",
}

// structure reads the values of an object by a table of keys.
func structure(where string, raw any, table []key, p *problems) (map[string]any, bool) {
	m, ok := raw.(map[string]any)
	if !ok {
		p.add("%s must be a structure", where)
		return nil, false
	}
	out := map[string]any{}
	for i := range table {
		out[table[i].name] = table[i].def
	}
	for _, name := range sorted(m) {
		k := find(table, name)
		if k == nil {
			unknown(p, where+".", name, names(table))
			continue
		}
		if v, ok := k.value(where+"."+name, m[name], p); ok {
			out[name] = v
		}
	}
	return out, true
}

func buildWebhooks(where string, raw any, p *problems) []Webhook {
	if raw == nil {
		return nil
	}
	list, ok := raw.([]any)
	if !ok {
		p.add("%s must be a list", where)
		return nil
	}
	if len(list) > maxWebhooks {
		p.add("%s has %d entries, the limit is %d", where, len(list), maxWebhooks)
	}
	var out []Webhook
	seen := map[string]int{}
	for i, entry := range list {
		at := fmt.Sprintf("%s[%d]", where, i)
		v, ok := structure(at, entry, webhookKeys, p)
		if !ok {
			continue
		}
		w := buildWebhook(at, v, p)
		// An address has one queue, so it must not be repeated.
		if first, dup := seen[w.URL]; dup && w.URL != "" && p.sound(at+".url") {
			p.add("%s.url is %q, which %s[%d] has already", at, shorten(redactQuery(redactURL(w.URL))), where, first)
		} else {
			seen[w.URL] = i
		}
		out = append(out, w)
	}
	return out
}

func buildWebhook(at string, v map[string]any, p *problems) Webhook {
	w := Webhook{BatchTime: 50 * time.Millisecond, BatchSize: 50}
	w.URL, _ = v["url"].(string)
	if u, err := url.Parse(w.URL); err != nil || u.Host == "" || !reachable(u) || u.Scheme != "http" && u.Scheme != "https" {
		p.at(at+".url", "%s.url is %q, must be an address that begins with http:// or https://", at, shorten(redactQuery(redactURL(w.URL))))
	}
	checkFilled(at+".url", w.URL, p)
	w.Events, _ = v["event_types"].([]string)
	for _, e := range w.Events {
		if !slices.Contains(webhookEvents, e) {
			p.add("%s.event_types: %q is not one of %s", at, shorten(e), strings.Join(webhookEvents, ", "))
		}
	}
	if raw := v["filter"]; raw != nil {
		if f, ok := structure(at+".filter", raw, webhookFilterKeys, p); ok {
			w.Prefix, _ = f["channel_name_starts_with"].(string)
			w.Suffix, _ = f["channel_name_ends_with"].(string)
		}
	}
	switch raw := v["batch"].(type) {
	case nil:
	case bool, string:
		on, ok := (&key{kind: boolean}).coerce(raw)
		if !ok {
			p.at(at+".batch", "%s.batch is %v, must be true, false or a structure", at, shorten(fmt.Sprint(raw)))
		}
		w.Batch = on == true
	default:
		if b, ok := structure(at+".batch", raw, webhookBatchKeys, p); ok {
			w.Batch, _ = b["enabled"].(bool)
			ms, _ := b["duration_ms"].(int64)
			size, _ := b["size"].(int64)
			w.BatchTime, w.BatchSize = time.Duration(ms)*time.Millisecond, int(size)
		}
	}
	w.buildHeaders(at+".headers", v["headers"], p)
	return w
}

func (w *Webhook) buildHeaders(at string, raw any, p *problems) {
	if raw == nil {
		return
	}
	m, ok := raw.(map[string]any)
	if !ok {
		p.add("%s must be a structure of header names and texts", at)
		return
	}
	w.Headers = map[string]Secret{}
	for _, name := range sorted(m) {
		text, path, ok := headerValue(at+"."+shorten(name), m[name], p)
		switch {
		case !ok:
		case name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			p.add("%s: %q is not the name of a header", at, shorten(name))
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			p.add("%s.%s cannot be set; it is one that every webhook has", at, name)
		case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			p.add("%s.%s has a line break or another control character", at, name)
		default:
			w.Headers[name] = Secret(text)
			if path != "" {
				if w.HeaderFiles == nil {
					w.HeaderFiles = map[string]string{}
				}
				w.HeaderFiles[name] = path
			}
		}
	}
}

// headerValue returns a text, or the content of a file.
func headerValue(at string, raw any, p *problems) (text, path string, ok bool) {
	if m, is := raw.(map[string]any); is {
		v, _ := structure(at, m, headerKeys, p)
		if path, _ = v["file"].(string); path == "" {
			p.at(at+".file", "%s.file is missing", at)
			return "", "", false
		}
		content, err := ReadSecret(path)
		if err != nil {
			p.at(at+".file", "%s.file: %v", at, err)
		}
		return content.Reveal(), path, err == nil
	}
	k := key{kind: secret}
	value, ok := k.value(at, raw, p)
	text, _ = value.(string)
	return text, "", ok
}
