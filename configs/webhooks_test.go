package configs

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWebhooks(t *testing.T) {
	var p problems
	got := buildWebhooks("apps[0].webhooks", []any{
		map[string]any{"url": "https://example.com/a"},
		map[string]any{
			"url": "http://localhost:1/b", "event_types": []any{"cache_miss", "client_event"},
			"filter":  map[string]any{"channel_name_starts_with": "a", "channel_name_ends_with": "z"},
			"headers": map[string]any{"Authorization": "Bearer x"},
			"batch":   map[string]any{"duration_ms": 100, "size": 5},
		},
		map[string]any{"url": "http://localhost:1/c", "batch": true},
	}, &p)
	want := []Webhook{
		{URL: "https://example.com/a", Events: []string{}, BatchTime: 50 * time.Millisecond, BatchSize: 50},
		{
			URL: "http://localhost:1/b", Events: []string{"cache_miss", "client_event"}, Prefix: "a", Suffix: "z",
			Headers: map[string]Secret{"Authorization": "Bearer x"}, Batch: true, BatchTime: 100 * time.Millisecond, BatchSize: 5,
		},
		{URL: "http://localhost:1/c", Events: []string{}, Batch: true, BatchTime: 50 * time.Millisecond, BatchSize: 50},
	}
	if len(p.list) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, p.list)
	}
}

func TestWebhooksThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		raw  any
		want string
	}{
		{"x", "apps[0].webhooks must be a list"},
		{[]any{"x"}, "webhooks[0] must be a structure"},
		{[]any{map[string]any{}}, "webhooks[0].url is"},
		{[]any{map[string]any{"url": "ftp://x"}}, "webhooks[0].url is"},
		{[]any{map[string]any{"url": "http://x", "event_type": []any{}}}, "did you mean apps[0].webhooks[0].event_types"},
		{[]any{map[string]any{"url": "http://x", "event_types": []any{"occupied"}}}, "is not one of"},
		{[]any{map[string]any{"url": "http://x", "filter": map[string]any{"prefix": "x"}}}, "filter.prefix is not a known key"},
		{[]any{map[string]any{"url": "http://x", "batch": map[string]any{"size": 0}}}, "batch.size"},
		{[]any{map[string]any{"url": "http://x", "headers": map[string]any{"A b": "x"}}}, "headers"},
		{[]any{map[string]any{"url": "http://x", "headers": map[string]any{"A": "x\r\nB: y"}}}, "headers.A has a line break"},
		{[]any{map[string]any{"url": "http://x", "headers": map[string]any{"x-pusher-key": "x"}}}, "headers.x-pusher-key cannot be set"},
		{[]any{map[string]any{"url": "http://x", "headers": map[string]any{"A": []any{}}}}, "headers.A is [redacted], must be a text"},
		{[]any{map[string]any{"url": "http://x"}, map[string]any{"url": "http://x"}}, `webhooks[1].url is "http://x", which apps[0].webhooks[0] has already`},
	} {
		var p problems
		buildWebhooks("apps[0].webhooks", c.raw, &p)
		if got := strings.Join(p.list, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%v gave %q, want %q", c.raw, got, c.want)
		}
	}
}

func TestPrintedWebhooksLoadAgainAndHideSecrets(t *testing.T) {
	file := write(t, "c.yaml", `
apps:
  - id: a
    key: k
    secret: s
    webhooks:
      - url: https://u:hunter2@example.com/a
        event_types: cache_miss
        filter: {channel_name_ends_with: -x}
        headers: {Authorization: Bearer hunter3, X-Version: 2}
        batch: {duration_ms: 100}
`)
	c := load(t, Sources{File: file})
	if h := c.Apps[0].Webhooks[0].Headers; h["X-Version"] != "2" || h["Authorization"].Reveal() != "Bearer hunter3" {
		t.Errorf("headers %q", h["X-Version"].Reveal())
	}
	for format, print := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := print()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter") || !strings.Contains(string(text), "Authorization") {
			t.Errorf("printed\n%s", text)
		}
		notFilled(t, Sources{File: write(t, "printed."+format, string(text))}, "apps[0].secret", "apps[0].webhooks[0].url", "apps[0].webhooks[0].headers.Authorization", "apps[0].webhooks[0].headers.X-Version")
		got, want := load(t, Sources{File: write(t, "again."+format, filledIn(text))}).Apps[0].Webhooks[0], c.Apps[0].Webhooks[0]
		got.URL, got.Headers, want.URL, want.Headers = "", nil, "", nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", format, got, want)
		}
	}
	refused := problemsOf(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret: s, webhooks: [{url: 'ftp://u:hunter2@x?t=hunter3'}]}]")})
	if text := strings.Join(refused, "\n"); strings.Contains(text, "hunter") {
		t.Errorf("a secret is in %s", text)
	}
}
