package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// door is a way for a value to get to a key.
type door struct {
	name string
	// plain says that the value is written without quotes.
	plain bool
	load  func(t *testing.T, k *key, value string) (*Config, error)
}

// nested writes a dotted name as YAML or JSON in one line.
func nested(name, value string) string {
	parts := strings.Split(name, ".")
	out := fmt.Sprintf("{%q: %s}", parts[len(parts)-1], value)
	for i := len(parts) - 2; i >= 0; i-- {
		out = fmt.Sprintf("{%q: %s}", parts[i], out)
	}
	return out
}

func single(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

func dollars(value string) string { return strings.ReplaceAll(value, "$", "$$") }

func loadFile(t *testing.T, name, content string, environ ...string) (*Config, error) {
	t.Helper()
	// One directory for the many files of a test.
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sluice-configs-%d-%s", os.Getpid(), name))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(path) }()
	return Load(Sources{File: path, Environ: append([]string{"SLUICE_MODE=development"}, environ...)})
}

var doors = []door{
	{"yaml without quotes", true, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.yaml", nested(k.name, dollars(v))+"\n")
	}},
	{"yaml in quotes", false, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.yaml", nested(k.name, single(dollars(v)))+"\n")
	}},
	{"json without quotes", true, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.json", nested(k.name, v))
	}},
	{"json in quotes", false, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.json", nested(k.name, strconv.Quote(dollars(v))))
	}},
	{"toml without quotes", true, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.toml", k.name+" = "+v+"\n")
	}},
	{"toml in quotes", false, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.toml", k.name+" = "+strconv.Quote(dollars(v))+"\n")
	}},
	{"a variable in the file", false, func(t *testing.T, k *key, v string) (*Config, error) {
		return loadFile(t, "c.yaml", nested(k.name, single("${VALUE}"))+"\n", "VALUE="+v)
	}},
	{"the environment", false, func(_ *testing.T, k *key, v string) (*Config, error) {
		return Load(Sources{Environ: []string{k.env() + "=" + v}})
	}},
	{"a flag", false, func(t *testing.T, k *key, v string) (*Config, error) {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		BindFlags(fs)
		if fs.Lookup(k.flag()) == nil {
			return Load(Sources{Environ: []string{k.env() + "=" + v}})
		}
		if err := fs.Parse([]string{"--" + k.flag() + "=" + v}); err != nil {
			t.Fatal(err)
		}
		return Load(Sources{Flags: fs})
	}},
}

// written are values as somebody might write them, for keys of any kind.
var written = []string{
	"0042", "0x1F", "0o17", "0b1", "1_000", "123456789012345678901234", "1e3", "1.50", ".inf", "2024-01-01", "2024-01-01T00:00:00Z", "12:30:45",
	"yes", "no", "on", "off", "y", "n", "true", "False", "0", "1", "-1", "+5", "7", "10s", "a$b", "a$$b", "${x}", "[1]", "[a, b]", "{a: 1}",
	"null", "~", "", " ", ",", "fossil", "nats://a,nats://b", "text",
}

// common are those of them that every key is tried with; the others are for one key of
// each kind.
var common = []string{"0042", "1_000", "0", "7", "", "text", "null", "${x}"}

// reads says whether a value in force is what was written, by the meaning of the kind.
func (k *key) reads(v any, text string) bool {
	trimmed := strings.TrimSpace(text)
	switch x := v.(type) {
	case string:
		return x == text || k.kind == choice && x == strings.ToLower(text)
	case bool:
		return strconv.FormatBool(x) == strings.ToLower(trimmed) || !x && trimmed == "0" || x && trimmed == "1"
	case int64:
		return strconv.FormatInt(x, 10) == strings.TrimPrefix(trimmed, "+")
	case time.Duration:
		d, err := time.ParseDuration(trimmed)
		return err == nil && d == x || strconv.Itoa(int(x/time.Second)) == strings.TrimPrefix(trimmed, "+")
	case []string:
		return strings.Join(x, ",") == strings.ReplaceAll(trimmed, " ", "") || strings.Join(x, ", ") == strings.Trim(text, "[]")
	}
	return false
}

// TestWeeks09EveryKeyTakesWhatIsWrittenOrRefusesIt puts many values through every door of
// every key: what comes out is what was written, or the default where that was blank, or
// an error that names the key. What is printed loads again to the same.
func TestWeeks09EveryKeyTakesWhatIsWrittenOrRefusesIt(t *testing.T) {
	plain, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.yaml")
	// In force is something else than what such a key asks for, and printed as that.
	derived := map[string]bool{
		"mode": true, "host": true, "metrics.host": true, "web.enabled": true, "history.enabled": true, "nats.embedded.store_dir": true,
		"nats.replicas": true, "idempotency.enabled": true, "idempotency.ttl_seconds": true, "delta_compression.omit_delta_algorithm": true,
		"presence.lease": true, "http.max_bodies": true,
	}
	accepted := 0
	tried := map[kind]bool{}
	for i := range keys {
		k := &keys[i]
		if k.kind == tree {
			continue
		}
		values := common
		if !tried[k.kind] {
			values = written
		}
		tried[k.kind] = true
		for _, d := range doors {
			for _, v := range values {
				c, err := d.load(t, k, v)
				if err != nil {
					if !strings.Contains(err.Error(), k.name) && !notInFormat(d, v) {
						t.Errorf("%s = %q from %s: the error does not name it: %v", k.name, v, d.name, err)
					}
					continue
				}
				accepted++
				got := c.values[k.name]
				if d.plain && v == "," {
					v = "" // Nothing, and a comma behind it.
				}
				blank := strings.TrimSpace(v) == "" && !strings.Contains(d.name, "in quotes") || d.plain && (v == "null" || v == "~")
				switch {
				case derived[k.name]:
				case blank && !reflect.DeepEqual(got, plain.values[k.name]):
					t.Errorf("%s = %q from %s is blank and gave %v", k.name, v, d.name, got)
				case !blank && !k.reads(got, v) && !(strings.HasPrefix(d.name, "toml without") && !k.textual()):
					t.Errorf("%s = %q from %s gave %#v", k.name, v, d.name, got)
				}
				if d.name == "the environment" && !reflect.DeepEqual(got, plain.values[k.name]) {
					text, err := c.YAML()
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(again, text, 0o600); err != nil {
						t.Fatal(err)
					}
					loaded, err := Load(Sources{File: again})
					if err != nil {
						t.Errorf("%s = %q from %s: what was printed does not load: %v", k.name, v, d.name, err)
					} else if diff := cmp.Diff(c.Effective(), loaded.Effective()); diff != "" {
						t.Errorf("%s = %q from %s (-want +got):\n%s", k.name, v, d.name, diff)
					}
				}
			}
		}
	}
	if accepted < 5*len(keys) {
		t.Errorf("only %d values were accepted", accepted)
	}
}

// notInFormat says whether a value cannot be written without quotes in the format.
func notInFormat(d door, v string) bool {
	return d.plain && (!strings.HasPrefix(d.name, "yaml") || strings.ContainsAny(v, "{[,$"))
}

// loadsAgain checks that what is printed is what is in force.
func loadsAgain(t *testing.T, c *Config) {
	t.Helper()
	for format, print := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := print()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: write(t, "again."+format, string(text))})
		if err != nil {
			t.Errorf("what was printed does not load: %v\n%s", err, text)
			continue
		}
		if diff := cmp.Diff(c.Effective(), again.Effective()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

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

func TestWeeks24SecretsComeFromFilesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := file("one", "hunter2\n"), file("two", "hunter3 $$ ${X}\r\n")
	text := fmt.Sprintf("nats: {url: 'nats://a', user: u, password_file: %s}\nredis_url_file: %s\napps: [{id: a, key: k, secret_file: %s, webhooks: [{url: 'http://a', headers: {X: {file: %s}}}]}]\n",
		one, file("url", "redis://:hunter4@localhost\n"), two, one)
	c := load(t, Sources{File: write(t, "c.yaml", text)})
	a := c.Apps[0]
	if c.NATS.Password != "hunter2" || c.RedisURL != "redis://:hunter4@localhost" || a.Secret != "hunter3 $$ ${X}" || a.Webhooks[0].Headers["X"] != "hunter2" {
		t.Errorf("got %q, %q, %q, %q", c.NATS.Password.Reveal(), c.RedisURL.Reveal(), a.Secret.Reveal(), a.Webhooks[0].Headers["X"].Reveal())
	}
	shown, err := c.YAML()
	if err != nil || strings.Contains(string(shown), "hunter") || !strings.Contains(string(shown), "secret_file: "+two) || !strings.Contains(string(shown), "password_file: "+one) {
		t.Errorf("%v\n%s", err, shown)
	}
	loadsAgain(t, c)
	if c := load(t, Sources{File: write(t, "c.yaml", text), Environ: []string{"SLUICE_NATS_PASSWORD=other"}}); c.NATS.Password != "other" {
		t.Errorf("the environment does not win over a file with a secret")
	}
	if c := load(t, Sources{File: write(t, "c.yaml", text), Environ: []string{"SLUICE_NATS_PASSWORD_FILE=" + two}}); c.NATS.Password != "hunter3 $$ ${X}" {
		t.Errorf("got %q", c.NATS.Password.Reveal())
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file", dir: "is a directory", file("empty", "\n"): "is empty", file("big", strings.Repeat("hunter5", 10000)): "larger than",
		file("bytes", "hunter6\xff"): "not UTF-8", one + ", secret: hunter7": "must be one of them",
	} {
		got := problemsOf(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret_file: "+path+"}]")})
		if len(got) != 1 || !strings.Contains(got[0], "apps[0].secret_file") || !strings.Contains(got[0], want) || strings.Contains(got[0], "hunter") {
			t.Errorf("%s: got %v, want %q", path, got, want)
		}
	}
	// Every secret of the tables has such a key.
	for _, table := range [][]key{keys, appKeys} {
		for i := range table {
			if k := &table[i]; (k.kind == secret || k.kind == address) && find(table, k.name+"_file") == nil {
				t.Errorf("%s cannot come from a file", k.name)
			}
		}
	}
}

func TestWeeks24VariablesInTheFile(t *testing.T) {
	environ := []string{"A=x, key: evil, \"}]\napps: []", "PORT_OF=7001", "BLANK= ", "URLS=nats://a,nats://b", "n1=v"}
	c := load(t, Sources{File: write(t, "c.yaml", "port: ${PORT_OF}\nnats: {url: '${URLS}'}\napps: [{id: \"a${n1}b\", key: $a, secret: \"${A}$$${n1}$\", channel_delta_compression: {\"${n1}\": disabled}}]\n"), Environ: environ})
	a := c.Apps[0]
	if c.Port != 7001 || len(c.NATS.URLs) != 2 || a.ID != "avb" || a.Key != "$a" || a.Secret.Reveal() != "x, key: evil, \"}]\napps: []$v$" || a.Channels[0].Pattern != "${n1}" || len(c.Apps) != 1 {
		t.Errorf("got %+v, secret %q", c, a.Secret.Reveal())
	}
	for value, want := range map[string]string{
		"${NONE}": "NONE is not set", "${BLANK}": "BLANK is not set or blank", "${": "without the name", "${}": "without the name", "${a-b}": "without the name", "a${PORT_OF": "without the name", "${1}": "without the name",
	} {
		got := problemsOf(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret: '"+value+"'}]"), Environ: environ})
		if len(got) != 1 || !strings.Contains(got[0], "apps[0].secret") || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %v, want %q", value, got, want)
		}
	}
	if got := problemsOf(t, Sources{File: write(t, "c.yaml", "apps: ${A}"), Environ: environ}); len(got) != 1 {
		t.Errorf("a variable brought apps: %v", got)
	}
}

func TestWeeks24AppsFromTheEnvironment(t *testing.T) {
	file := write(t, "c.yaml", "apps: [{id: a, key: k, secret: s}]\n")
	c := load(t, Sources{File: file, Environ: []string{`SLUICE_APPS=[{"id": "b", "key": 42, "secret": "${x}$$", "enable_client_messages": true}]`}})
	if len(c.Apps) != 1 || c.Apps[0].ID != "b" || c.Apps[0].Key != "42" || c.Apps[0].Secret != "${x}$$" || !c.Apps[0].ClientEvents {
		t.Errorf("got %+v, %q", c.Apps, c.Apps[0].Secret.Reveal())
	}
	loadsAgain(t, c)
	for value, want := range map[string]string{
		"hunter2": "apps (environment variable SLUICE_APPS) is not JSON", "{}": "apps must be a list", `[{"id":"b","key":"k"}]`: "apps[0].secret is missing",
		`[{"id":"b","key":"k","secret":"s","x":1}]`: "apps[0].x is not a known key", `[] []`: "is not JSON", `[{"id":"a","id":"b"}]`: "given twice", "[]": "apps is empty",
	} {
		got := problemsOf(t, Sources{File: file, Environ: []string{"SLUICE_APPS=" + value}})
		if len(got) != 1 || !strings.Contains(got[0], want) || strings.Contains(got[0], "hunter") {
			t.Errorf("%s: got %v, want %q", value, got, want)
		}
	}
}

func TestWeeks24SecretsOfTheSamplesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"apps: [{id: a, key: k, secret: change-this-secret}]":                                                        "apps[0].secret",
		"apps: [{id: a, key: k, secret: s}]\nnats: {url: 'nats://a', user: u, password: change-this-password}":       "nats.password",
		"apps: [{id: a, key: k, secret: s}]\nnats: {url: 'nats://a', token: Change-This-token}":                      "nats.token",
		"apps: [{id: a, key: k, secret: s}]\nnats: {url: 'nats://u:change-this-password@a'}":                         "nats.url",
		"apps: [{id: a, key: k, secret: s}]\nadapter: {driver: redis}\nredis_url: 'redis://:change-this-password@r'": "redis_url",
	} {
		c := load(t, Sources{File: write(t, "c.yaml", text)})
		if err := c.CheckSecrets(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(strings.ToLower(err.Error()), "change-this-") {
			t.Errorf("%s: got %v, want something about %s", text, err, want)
		}
		for _, line := range []string{"\nallow_sample_secrets: true", "\nhost: 127.0.0.1", "\nmode: development"} {
			c := load(t, Sources{File: write(t, "c.yaml", text+line)})
			if err := c.CheckSecrets(); err != nil || len(c.SampleSecrets()) != 1 {
				t.Errorf("%s%s: %v, %v", text, line, err, c.SampleSecrets())
			}
		}
	}
}

// The file to try a cluster out with starts as it is.
func TestWeeks24TheComposeFileStarts(t *testing.T) {
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parseYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := tree["configs"].(map[string]any)
	for _, name := range []string{"sluice", "sluice-redis"} {
		one, _ := all[name].(map[string]any)
		content, _ := one["content"].(string)
		c := load(t, Sources{File: write(t, "c.yaml", strings.ReplaceAll(content, "$$", "$"))})
		if err := errors.Join(c.CheckBackend(), c.CheckSecrets()); err != nil || len(c.SampleSecrets()) == 0 {
			t.Errorf("%s: %v, secrets of the samples in %v", name, err, c.SampleSecrets())
		}
	}
}

// TestWeeks24RandomConfigurations writes random keys with random values in each format.
// A problem names a key that was written; what loads is printed and loads again.
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
			// A value of the right kind more often than not, so that much loads.
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
			err = os.WriteFile(printed, text, 0o600)
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
		if reading, retention, rest := c.Changed(again); len(reading)+len(retention) > 0 || slices.ContainsFunc(rest, func(k string) bool { return !redactedKey(k) }) {
			t.Fatalf("what was printed differs in %v %v %v", reading, retention, rest)
		}
	})
	if loaded < 10 {
		t.Errorf("only %d configurations were loaded", loaded)
	}
}

// redactedKey says whether what is printed of a key is not what it is.
func redactedKey(name string) bool {
	k := find(keys, name)
	return k == nil || k.kind == secret || k.kind == address || k.name == "nats.url"
}

// TestWeeks09EveryKeyOfAnAppTakesWhatIsWrittenOrRefusesIt is the same for the keys of apps.
func TestWeeks09EveryKeyOfAnAppTakesWhatIsWrittenOrRefusesIt(t *testing.T) {
	render := func(k *key, v string) string {
		app := map[string]string{"id": `"a"`, "key": `"k"`, "secret": `"s"`}
		if k.secretOf() != "" {
			delete(app, k.secretOf())
		}
		app[k.name] = v
		var parts []string
		for name, text := range app {
			parts = append(parts, fmt.Sprintf("%q: %s", name, text))
		}
		return "[{" + strings.Join(parts, ", ") + "}]"
	}
	plain := load(t, Sources{Environ: []string{"SLUICE_APPS=" + `[{"id": "a", "key": "k", "secret": "s"}]`}}).Apps[0].effective()
	ways := []door{
		{"yaml without quotes", true, func(t *testing.T, k *key, v string) (*Config, error) {
			return loadFile(t, "c.yaml", "apps: "+render(k, dollars(v)))
		}},
		{"yaml in quotes", false, func(t *testing.T, k *key, v string) (*Config, error) {
			return loadFile(t, "c.yaml", "apps: "+render(k, single(dollars(v))))
		}},
		{"json without quotes", true, func(t *testing.T, k *key, v string) (*Config, error) {
			return loadFile(t, "c.json", `{"apps": `+render(k, v)+"}")
		}},
		{"the environment", false, func(_ *testing.T, k *key, v string) (*Config, error) {
			return Load(Sources{Environ: []string{"SLUICE_APPS=" + render(k, strconv.Quote(v))}})
		}},
		{"a variable in the file", false, func(t *testing.T, k *key, v string) (*Config, error) {
			return loadFile(t, "c.yaml", "apps: "+render(k, single("${VALUE}")), "VALUE="+v)
		}},
	}
	tried := map[kind]bool{}
	for i := range appKeys {
		k := &appKeys[i]
		if k.kind == tree {
			continue
		}
		values := common
		if !tried[k.kind] {
			values = written
		}
		tried[k.kind] = true
		for _, d := range ways {
			for _, v := range values {
				c, err := d.load(t, k, v)
				if err != nil {
					if !strings.Contains(err.Error(), "apps[0]."+k.name) && !notInFormat(d, v) && !strings.Contains(err.Error(), "not JSON") && k.kind != file {
						t.Errorf("%s = %q from %s: the error does not name it: %v", k.name, v, d.name, err)
					}
					continue
				}
				got := c.Apps[0].effective()[k.name]
				switch {
				case k.kind == secret:
					got = c.Apps[0].Secret.Reveal()
				case k.name == "secret_file":
					got = c.Apps[0].SecretFile
				}
				if n, is := got.(int); is {
					got = int64(n)
				}
				blank := strings.TrimSpace(v) == "" || d.plain && (v == "null" || v == "~" || v == ",")
				// 0 is the setting of all apps there.
				global := strings.HasPrefix(k.name, "history_") && v == "0" || k.name == "enable_watchlist_events"
				if !blank && !global && !k.reads(got, v) {
					t.Errorf("%s = %q from %s gave %#v", k.name, v, d.name, got)
				}
				// In development mode the key and the secret of an app are its id by default.
				if blank && v != " " && k.name != "key" && k.kind != secret && k.kind != file && !reflect.DeepEqual(c.Apps[0].effective()[k.name], plain[k.name]) {
					t.Errorf("%s = %q from %s is blank and gave %#v", k.name, v, d.name, got)
				}
			}
		}
	}
}

func TestWeeks24WhatIsPrintedIsNotExpanded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[${}a]{0,8}`).Draw(t, "text")
		if got, err := expandText(unexpanded(text), nil); err != nil || got != text {
			t.Fatalf("%q was printed as %q and read as %q, %v", text, unexpanded(text), got, err)
		}
	})
}
