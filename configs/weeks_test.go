package configs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestWeeks09TextsOfAppsAreAsWritten(t *testing.T) {
	for _, v := range []string{"0042", "0x1F", "123456789012345678901234", "1_000", "1e3", "1.50", "2024-01-01", "yes", "no", "on", "off", "true", "0"} {
		c, err := loadFile(t, "c.yaml", fmt.Sprintf("apps: [{id: %s, key: k%s, secret: %s, allowed_origins: [%s, a], webhooks: [{url: 'http://a', headers: {X: %s}}]}]", v, v, v, v, v))
		if err != nil {
			t.Errorf("%s: %v", v, err)
			continue
		}
		a := c.Apps[0]
		if a.ID != v || a.Secret.Reveal() != v || a.Origins[0] != v || a.Webhooks[0].Headers["X"].Reveal() != v {
			t.Errorf("%s became %q, %q, %q, %q", v, a.ID, a.Secret.Reveal(), a.Origins, a.Webhooks[0].Headers["X"].Reveal())
		}
		loadsAgain(t, c)
	}
	for name, content := range map[string]string{
		"null for an id":         "c.yaml apps: [{id: null, key: k, secret: s}]",
		"~ for a secret":         "c.yaml apps: [{id: a, key: k, secret: ~}]",
		"null in a list":         "c.yaml apps: [{id: a, key: k, secret: s, allowed_origins: [~]}]",
		"a list for an id":       "c.yaml apps: [{id: [a], key: k, secret: s}]",
		"a tag":                  "c.yaml apps: [{id: !a b, key: k, secret: s}]",
		"a number in TOML":       "c.toml [[apps]]\nid = 42\nkey = \"k\"\nsecret = \"s\"",
		"a date in TOML":         "c.toml [[apps]]\nid = \"a\"\nkey = \"k\"\nsecret = 2024-01-01",
		"a name twice in JSON":   `c.json {"apps": [{"id": "a", "id": "b", "key": "k", "secret": "s"}]}`,
		"a name twice in YAML":   "c.yaml apps: [{id: a, id: b, key: k, secret: s}]",
		"two documents":          "c.yaml apps: [{id: a, key: k, secret: s}]\n---\nport: 1",
		"bytes that are no text": "c.json {\"apps\": [{\"id\": \"a\xff\", \"key\": \"k\", \"secret\": \"s\"}]}",
	} {
		file, text, _ := strings.Cut(content, " ")
		if c, err := Load(Sources{File: write(t, file, text)}); err == nil {
			t.Errorf("%s was accepted: %q", name, c.Apps[0].ID)
		}
	}
}

func TestWeeks09ErrorsOfFilesKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"secret: *hunter2", "secret: !hunter2 a", "secret: !!int hunter2", "hunter2", "secret: !!binary hunter2?", "apps: [{id: a, secret: {hunter2: 1}, key: k}]\nnats: {password: [hunter2]}",
	} {
		if _, err := Load(Sources{File: write(t, "c.yaml", text)}); err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "secret.hunter2", ""), "hunter2") {
			t.Errorf("%q: got %v", text, err)
		}
	}
	c := load(t, Sources{File: write(t, "c.yaml", "nats: {url: ['u:hunter2@n1:4222', 'n2:4222', '127.0.0.1:4222', 'nats://hunter2@n3']}\napps: [{id: a, key: k, secret: s}]")})
	if text, err := c.YAML(); err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "- u:xxxxx@n1:4222") || !strings.Contains(string(text), "- 127.0.0.1:4222") {
		t.Errorf("%v\n%s", err, text)
	}
	for file, texts := range map[string][]string{
		"c.json": {`{"a": hunter2}`, `{"a": "hunter2`, `{"a": "hunter2\\x"}`, `{"a": "hunter2" b}`, `{"a": 0hunter2}`, `"hunter2"`},
		"c.toml": {"a = hunter2", "a = \"hunter2", "a = 'hunter2' b", "a = \"hunter2\\x\"", "a = 0hunter2", "a = 2hunter2"},
	} {
		for _, text := range texts {
			if _, err := Load(Sources{File: write(t, file, text)}); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s %q: got %v", file, text, err)
			}
		}
	}
}

func TestWeeks09BlankVariablesAreNotSet(t *testing.T) {
	file := write(t, "c.yaml", "nats: {url: 'nats://a:4222', inbox_prefix: in}\nhost: 127.0.0.1\nport: 7001\nredis: {prefix: 'p:'}\nmetrics: {prefix: m_}\napps: [{id: a, key: k, secret: s}]\n")
	environ := []string{"PORT=", "REDIS_URL= ", "ADAPTER_DRIVER=", "SLUICE_UNKNOWN="}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	BindFlags(fs)
	var args []string
	for i := range keys {
		environ = append(environ, keys[i].env()+"=")
		if keys[i].kind != tree && keys[i].kind != secret && keys[i].kind != address && keys[i].kind != boolean {
			args = append(args, "--"+keys[i].flag()+"=")
		}
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	want := load(t, Sources{File: file}).Effective()
	for name, s := range map[string]Sources{"variables": {File: file, Environ: environ}, "flags": {File: file, Flags: fs}} {
		if diff := cmp.Diff(want, load(t, s).Effective()); diff != "" {
			t.Errorf("blank %s changed something (-want +got):\n%s", name, diff)
		}
	}
}

func TestWeeks09ServiceLinksAreIgnored(t *testing.T) {
	links := []string{
		"SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_SERVICE_PORT=6001", "SLUICE_SERVICE_PORT_HTTP=6001", "SLUICE_PORT=tcp://10.0.0.1:6001",
		"SLUICE_PORT_6001_TCP=tcp://10.0.0.1:6001", "SLUICE_PORT_6001_TCP_PROTO=tcp", "SLUICE_PORT_6001_TCP_PORT=6001", "SLUICE_PORT_6001_TCP_ADDR=10.0.0.1",
		"SLUICE_PORT_53_UDP=udp://10.0.0.1:53", "SLUICE_METRICS_PORT=tcp://10.0.0.2:9601", "SLUICE_METRICS_SERVICE_HOST=10.0.0.2",
		"SLUICE_NATS_EMBEDDED_PORT=tcp://10.0.0.3:4222", "SLUICE_GATEWAY_A_SERVICE_PORT=1", "SLUICE_GATEWAY_A_PORT_1_TCP_ADDR=10.0.0.3",
	}
	c := load(t, Sources{Environ: links})
	if diff := cmp.Diff(load(t, Sources{}).Effective(), c.Effective()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.ServiceLinks(); len(got) != len(links) {
		t.Errorf("ignored are %v", got)
	}
	if c := load(t, Sources{Environ: []string{"SLUICE_PORT=7001"}}); c.Port != 7001 || len(c.ServiceLinks()) > 0 {
		t.Errorf("got port %d, ignored %v", c.Port, c.ServiceLinks())
	}
	if c := load(t, Sources{Environ: []string{"SLUICE_SECRET=hunter2", "SLUICE_URL=http://a"}}); len(c.ClientVariables()) != 2 || c.Apps[0].Secret != DemoSecret {
		t.Errorf("got %v", c.ClientVariables())
	}
	for _, bad := range []string{"SLUICE_PORT=http://a", "SLUICE_PORT_A=1", "SLUICE_SERVICE=1", "SLUICE_PORTS=tcp://1"} {
		problemsOf(t, Sources{Environ: []string{bad}})
	}
}

func TestWeeks09EachProblemIsToldOnce(t *testing.T) {
	for text, want := range map[string]int{
		"apps: [{key: k, secret: s}]": 1,
		"apps: [{id: a, secret: s}]":  1,
		"apps: [{id: a, key: k}]":     1,
		"apps: [{id: a}]":             2,
		"apps: [{}]":                  3,
		"apps: [{id: a, key: b, secret: s}, {id: b, secret: s}]":                                  1,
		"apps: [{id: a b, secret: s}]":                                                            1,
		"apps: [{id: a, key: [1], secret: s}]":                                                    1,
		"apps: [{id: a, key: ~, secret: s}]":                                                      1,
		"apps: [1]":                                                                               1,
		"apps: 1":                                                                                 1,
		"apps: [{id: a, key: k, secret: s, webhooks: [{url: [1]}]}]":                              1,
		"apps: [{id: a, key: k, secret: '${NONE}'}]":                                              1,
		"nats: {url: ['${NONE}']}\napps: [{id: a, key: k, secret: s}]":                            1,
		"nats: {user: u, password: [1]}\napps: [{id: a, key: k, secret: s}]":                      1,
		"nats: {user: u, password_file: /none}\napps: [{id: a, key: k, secret: s}]":               1,
		"history: {max_bytes: 1}\napps: [{id: a, key: k, secret: s}, {id: b, key: l, secret: s}]": 1,
		"durability: replicated\napps: [{id: a, key: k, secret: s}]":                              1,
		"durability: replicated\nnats: {url: [1, [2]]}\napps: [{id: a, key: k, secret: s}]":       1,
		"delta_compression: {cluster_coordination: true}\nhistory: {max_messages: 5}\napps: [{id: a, key: k, secret: s}]": 1,
		"port: [1]\nhost: [1]\napps: [{id: a, key: k, secret: s}]":                                                        2,
	} {
		if got := problemsOf(t, Sources{File: write(t, "c.yaml", text)}); len(got) != want {
			t.Errorf("%s: got %d problems, want %d:\n%s", text, len(got), want, strings.Join(got, "\n"))
		}
	}
}

// TestCredentialsThatNobodyCanUseAreRefused: with such a key requests are answered with 400, and with such a
// secret no signature is valid.
func TestCredentialsThatNobodyCanUseAreRefused(t *testing.T) {
	for text, key := range map[string]string{
		`id: "a\nb", key: k, secret: s`:                                      "apps[0].id",
		`id: "..", key: k, secret: s`:                                        "apps[0].id",
		`id: a, key: "k\n", secret: s`:                                       "apps[0].key",
		`id: a, key: "k\u0000", secret: s`:                                   "apps[0].key",
		`id: a, key: "a&b", secret: s`:                                       "apps[0].key",
		`id: a, key: "..", secret: s`:                                        "apps[0].key",
		`id: a, key: k, secret: "hunter2\n"`:                                 "apps[0].secret",
		`id: a, key: k, secret: s, previous_keys: [{secret: "ab\t"}]`:        "apps[0].previous_keys[0].secret",
		`id: a, key: k, secret: s, previous_keys: [{key: "a&b", secret: s}]`: "apps[0].previous_keys[0].key",
	} {
		got := problemsOf(t, Sources{File: write(t, "c.yaml", "mode: production\napps: [{"+text+"}]\n")})
		if len(got) != 1 || !strings.HasPrefix(got[0], key+" ") || strings.Contains(got[0], "hunter2") {
			t.Errorf("%s: %q, want one problem of %s", text, got, key)
		}
	}
	for _, text := range []string{`id: "a b/c?", key: é, secret: "p w"`, `id: münchen, key: "k%41.", secret: "…"`} {
		load(t, Sources{File: write(t, "c.yaml", "mode: production\napps: [{"+text+"}]\n")})
	}
}
