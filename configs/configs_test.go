package configs

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, s Sources) *Config {
	t.Helper()
	c, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problemsOf(t *testing.T, s Sources) []string {
	t.Helper()
	_, err := Load(s)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want problems", err)
	}
	return e.Problems
}

func TestWithoutAFileIsDevelopment(t *testing.T) {
	c := load(t, Sources{})
	if !c.Development || !c.Web || c.Host != "127.0.0.1" || c.Port != 6001 || !c.History.Enabled || !c.Embeds() {
		t.Errorf("got %+v", c)
	}
	want := []App{{
		ID: DemoID, Key: DemoKey, Secret: DemoSecret, Enabled: true, MaxPayload: 10240, MaxChannels: 100, MaxBatch: 10,
		MaxEventName: 200, MaxChannelName: 200, MaxMembers: 100, MaxMemberInfo: 1024, ClientEventRate: 10, Origins: []string{},
		Channels:    []ChannelDelta{{Pattern: "host-metrics", Enabled: true, Algorithm: "fossil", Path: "device", MaxKeys: 100, DeliverTags: true}},
		MaxMessages: 1000, MaxBytes: 1 << 30, Retention: 24 * time.Hour,
	}}
	if diff := cmp.Diff(want, c.Apps); diff != "" {
		t.Errorf("apps (-want +got):\n%s", diff)
	}
}

// TestSamplesLoad: CF-01, published example configurations load unchanged.
func TestSamplesLoad(t *testing.T) {
	files, err := filepath.Glob("samples/*.*")
	if err != nil || len(files) < 5 {
		t.Fatalf("samples: %v %v", files, err)
	}
	for _, file := range files {
		t.Run("CF-01 "+file, func(t *testing.T) {
			var environ []string
			if strings.Contains(file, "published") {
				environ = []string{"SLUICE_MODE=development", "RUST_LOG=info", "PORT=6002"}
			}
			c := load(t, Sources{File: file, Environ: environ})
			if len(c.Apps) != 1 {
				t.Errorf("got %d apps", len(c.Apps))
			}
		})
	}
	c := load(t, Sources{File: "samples/published-delta.jsonc", Environ: []string{"SLUICE_MODE=development"}})
	want := []ChannelDelta{
		{Pattern: "binary-stream", Algorithm: "fossil", MaxKeys: 100, DeliverTags: true},
		{Pattern: "market-data", Enabled: true, Algorithm: "fossil", Path: "symbol", MaxKeys: 1000, DeliverTags: true},
		{Pattern: "ticker:*", Enabled: true, Algorithm: "fossil", Path: "data.symbol", MaxKeys: 100},
		{Pattern: "updates-*", Enabled: true, Algorithm: "xdelta3", MaxKeys: 100, DeliverTags: true},
	}
	if diff := cmp.Diff(want, c.Apps[0].Channels); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	cluster := load(t, Sources{File: "samples/published-cluster.jsonc", Environ: []string{"SLUICE_MODE=development"}})
	if err := cluster.CheckBackend(); err == nil || !strings.Contains(err.Error(), "redis_url") {
		t.Errorf("CF-06: got %v, want an error that names the driver", err)
	}
	if got := cluster.NotYet(); len(got) > 0 {
		t.Errorf("features that are not there: %v", got)
	}
}

func TestDefaultsOfDeltaCompression(t *testing.T) {
	want := Delta{Enabled: true, Algorithm: "fossil", Interval: 10, MinSize: 100, MaxAge: 300 * time.Second, MaxKeys: 100, MaxChannels: 100}
	if diff := cmp.Diff(want, load(t, Sources{}).Delta); diff != "" {
		t.Errorf("CF-02 (-want +got):\n%s", diff)
	}
}

func TestEveryFormatAndLayer(t *testing.T) {
	for name, content := range map[string]string{
		"c.yaml":  "mode: development\nport: 7001\nnats: {embedded: {port: -1}, start_timeout: 250ms}\n",
		"c.toml":  "mode = \"development\"\nport = 7001\n[nats]\nstart_timeout = \"5s\"\n[nats.embedded]\nport = -1\n",
		"c.json":  `{"mode":"development","port":7001,"nats":{"embedded":{"port":-1}}}`,
		"c.jsonc": "{\"mode\":\"Development\", // comment\n\"port\":7001, /* another */ \"nats\":{\"embedded\":{\"port\":-1,},},}",
	} {
		if name == "c.yaml" {
			content = strings.Replace(content, "250ms", "2s", 1)
		}
		t.Run(name, func(t *testing.T) {
			file := write(t, name, content)
			if c := load(t, Sources{File: file}); c.Port != 7001 || c.NATS.Embedded.Port != -1 {
				t.Errorf("got port %d and %d", c.Port, c.NATS.Embedded.Port)
			}
			environ := []string{"PORT=7002", "SLUICE_NATS_EMBEDDED_PORT=4223"}
			c := load(t, Sources{File: file, Environ: environ})
			if c.Port != 7002 || c.NATS.Embedded.Port != 4223 {
				t.Errorf("the environment gave %d and %d", c.Port, c.NATS.Embedded.Port)
			}
			if c := load(t, Sources{File: file, Environ: append(environ, "SLUICE_PORT=7003")}); c.Port != 7003 {
				t.Errorf("the prefixed variable gave %d", c.Port)
			}
			fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
			BindFlags(fs)
			if err := fs.Parse([]string{"--port", "7004", "--nats-url", "nats://a,nats://b", "--history-enabled"}); err != nil {
				t.Fatal(err)
			}
			c = load(t, Sources{File: file, Environ: environ, Flags: fs})
			if c.Port != 7004 || len(c.NATS.URLs) != 2 || c.Embeds() {
				t.Errorf("flags gave %d and %v", c.Port, c.NATS.URLs)
			}
		})
	}
}

func TestProblemsAreReportedTogether(t *testing.T) {
	file := write(t, "c.yaml", `
port: 70000
delta_compresion: {enabled: true}
delta_compression: {full_message_intervall: 3, min_message_size: -1, algorithm: zip}
nats: {replicas: many, password: hunter2, tls: yes}
history: {max_page_size: 0}
activity_timeout: 2m
presence: {lease: 2500ms}
apps:
  - id: a
    key: k
    secret: hunter3
    max_event_payload_in_kb: 5000
    channel_delta_compression: {"a*b*c": fossil, "x": zip, "y": {conflation_keys: 1}}
  - id: a
`)
	got := strings.Join(problemsOf(t, Sources{File: file, Environ: []string{"SLUICE_PROT=1", "SLUICE_LOG=1", "SLUICE_CONFIG=/etc/c.yaml", "SLUICE_LOG_LEVEL=loud"}}), "\n")
	for _, want := range []string{
		"port is 70000, must be a whole number from 0 to 65535",
		"delta_compresion is not a known key; did you mean delta_compression",
		"delta_compression.full_message_intervall is not a known key; did you mean delta_compression.full_message_interval?",
		"delta_compression.min_message_size is -1, must be a whole number of bytes from 0 to",
		`activity_timeout is "2m", must be a whole number of seconds from 1 to 3600`,
		`presence.lease is "2500ms", must be a number of whole seconds such as 10s or 2m, from 2 to 600 s`,
		"apps[0].max_event_payload_in_kb is 5000, must be a whole number of KiB from 1 to 1024",
		`delta_compression.algorithm is "zip", must be one of fossil, xdelta3, vcdiff`,
		`nats.replicas is "many"`,
		"nats.tls must be a section",
		"history.max_page_size is 0, must be a whole number from 1 to 1000",
		"nats.user and nats.password must be given together",
		`["a*b*c"]: a pattern`,
		`["x"] is "zip"`,
		`["y"].conflation_keys is not a known key; did you mean`,
		`apps[1].id is "a", which apps[0] has already`,
		"apps[1].key is missing",
		"apps[1].secret is missing",
		"SLUICE_PROT is not a known key; did you mean SLUICE_PORT?", "SLUICE_LOG is not a known key\n",
		"SLUICE_CONFIG is not a known key; the configuration file is given with --config",
		`log.level (environment variable SLUICE_LOG_LEVEL) is "loud", must be one of debug, info, warn, error`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("CF-03 CF-04: %q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter") {
		t.Errorf("a secret is in\n%s", got)
	}
}

func TestModes(t *testing.T) {
	onlyID := write(t, "c.yaml", "apps: [{id: my-app}]\n")
	if got := problemsOf(t, Sources{File: onlyID}); len(got) != 2 {
		t.Errorf("CF-05: got %v, want a missing key and secret", got)
	}
	c := load(t, Sources{File: onlyID, Environ: []string{"SLUICE_MODE=development"}})
	if c.Apps[0].Key != "my-app" || c.Apps[0].Secret != "my-app" {
		t.Errorf("CF-05: got %+v", c.Apps[0])
	}
	for name, content := range map[string]string{
		"demo secret on all addresses":       "apps: [{id: a, key: k, secret: app-secret}]\n",
		"development on all addresses":       "mode: development\nhost: 0.0.0.0\n",
		"no app in production":               "port: 1\n",
		"embedded server on all addresses":   "apps: [{id: a, key: k, secret: s}]\nnats: {embedded: {host: 0.0.0.0}}\n",
		"replicas of an embedded server":     "apps: [{id: a, key: k, secret: s}]\nnats: {replicas: 3}\n",
		"a prefix for paths without a slash": "apps: [{id: a, key: k, secret: s}]\npath_prefix: realtime\n",
		"a certificate without its key":      "apps: [{id: a, key: k, secret: s}]\nnats: {tls: {cert_file: c.pem}}\n",
	} {
		if got := problemsOf(t, Sources{File: write(t, "c.yaml", content)}); len(got) != 1 {
			t.Errorf("%s: got %v, want one problem", name, got)
		}
	}
	load(t, Sources{File: write(t, "c.yaml", "host: 127.0.0.1\napps: [{id: a, key: k, secret: app-secret}]\n")})
	production := load(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret: s}]\n")})
	if production.Web || production.Development || production.Host != "0.0.0.0" || production.History.Enabled {
		t.Errorf("got %+v", production)
	}
}

// notFilled checks that placeholders for secrets are refused with the names of their keys, and nothing else
// is.
func notFilled(t *testing.T, s Sources, keys ...string) {
	t.Helper()
	problems := problemsOf(t, s)
	for _, key := range keys {
		if !slices.ContainsFunc(problems, func(p string) bool {
			return strings.HasPrefix(p, key+" ") && strings.Contains(p, "stands for a secret that was not printed")
		}) {
			t.Errorf("nothing is said of %s: %q", key, problems)
		}
	}
	if len(problems) != len(keys) {
		t.Errorf("%d problems for %d secrets: %q", len(problems), len(keys), problems)
	}
}

func TestPrintedConfigurationLoadsAgainAndHidesSecrets(t *testing.T) {
	file := write(t, "c.yaml", `
nats: {url: "nats://gw:hunter2@localhost:4222", user: u, password: hunter3}
redis_url: redis://:hunter4@localhost
apps: [{id: a, key: k, secret: hunter5, channel_delta_compression: {"x-*": {conflation_key: s}, "y": disabled}}]
`)
	c := load(t, Sources{File: file})
	for format, print := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := print()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter") {
			t.Errorf("a secret is in\n%s", text)
		}
		notFilled(t, Sources{File: write(t, "printed."+format, string(text))}, "nats.url", "nats.password", "redis_url", "apps[0].secret")
		again := load(t, Sources{File: write(t, "again."+format, filledIn(text))})
		if diff := cmp.Diff(c.Apps[0].Channels, again.Apps[0].Channels); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
		if again.Delta != c.Delta || again.History != c.History {
			t.Errorf("%s: got %+v, want %+v", format, again, c)
		}
	}
	from := write(t, "secret", redacted+"\n")
	notFilled(t, Sources{Environ: []string{"SLUICE_METRICS_TOKEN=" + redacted}}, "metrics.token")
	if problems := problemsOf(t, Sources{Environ: []string{"SLUICE_METRICS_TOKEN_FILE=" + from}}); len(problems) != 1 || !strings.Contains(problems[0], "stands for a secret") {
		t.Errorf("from a file: %q", problems)
	}
	for _, shown := range []string{fmt.Sprint(c.Apps), fmt.Sprintf("%+v %#v", c.NATS, c.Apps), c.Apps[0].Secret.String()} {
		if strings.Contains(shown, "hunter3") || strings.Contains(shown, "hunter5") {
			t.Errorf("a secret is in %s", shown)
		}
	}
	if b, err := json.Marshal(c.Apps[0]); err != nil || strings.Contains(string(b), "hunter") {
		t.Errorf("got %s %v", b, err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, file := range []string{"missing.yaml", write(t, "c.ini", "a=b"), write(t, "c.json", "{"), write(t, "c.json", "{} {}"), write(t, "c.yaml", "a: [")} {
		if _, err := Load(Sources{File: file}); err == nil {
			t.Errorf("%s was accepted", file)
		}
	}
}

func TestNamesOfVariablesAndFlagsAreUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for i := range keys {
		k := &keys[i]
		for _, name := range []string{k.env(), k.flag()} {
			if other, ok := seen[name]; ok {
				t.Errorf("%s stands for %s and %s", name, other, k.name)
			}
			seen[name] = k.name
		}
	}
}

func TestReferenceIsUpToDate(t *testing.T) {
	const path = "../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reference(), string(got)); diff != "" {
		t.Errorf("docs/configuration.md is stale; run go test ./configs -update (-want +got):\n%s", diff)
	}
}

// FuzzLoad reads files with any content: nothing panics, an error names something, and a configuration that
// loads is printed without its secrets, so that it loads again with the same result.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"published-delta.jsonc", "published-cluster.jsonc", "single.yaml", "cluster.yaml"} {
		b, err := os.ReadFile("samples/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(len(name)))
	}
	f.Add([]byte("[nats]\nurl = [1, {}]\n"), uint8(2))
	f.Add([]byte("apps: [{id: {}, channel_delta_compression: [1]}, 3]"), uint8(1))
	f.Add([]byte("a: &a [*a]\nb: {<<: *a}"), uint8(1))
	f.Add([]byte("x: &x {id: 0042, key: ${V}, secret: $$}\napps: [{<<: *x, key: ~}, *x]"), uint8(1))
	f.Add([]byte("nats: {url: [n1, 'u:p@n2:1', '$${x}']}\nport: 0x1F\npresence: {lease: 2.5s}"), uint8(1))
	f.Add([]byte("{\"apps\": [{\"id\": \"a\", \"webhooks\": [{\"url\": \"http://a?b=$$\", \"headers\": {\"X\": {\"file\": \"/none\"}}}]}]}"), uint8(0))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, format uint8) {
		ext := []string{".json", ".yaml", ".toml", ".jsonc"}[format%4]
		file := filepath.Join(dir, "c"+ext)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{File: file, Environ: []string{"V=a: ${V} $$ '\"\n", "SLUICE_MODE=development"}})
		if err != nil {
			var e *Error
			if errors.As(err, &e) && len(e.Problems) == 0 {
				t.Errorf("an error says nothing")
			}
			return
		}
		for ending, print := range map[string]func() ([]byte, error){".yaml": c.YAML, ".json": c.JSON} {
			text, err := print()
			if err != nil {
				t.Fatal(err)
			}
			printed := filepath.Join(dir, "printed"+ending)
			if err := os.WriteFile(printed, []byte(filledIn(text)), 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := Load(Sources{File: printed})
			if err != nil {
				t.Fatalf("what was printed does not load: %v\n%s", err, text)
			}
			if diff := cmp.Diff(c.Effective(), again.Effective()); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", ending, diff)
			}
		}
	})
}

// TestWeeks19DerivedValuesAreNoChange: a value derived from the machine is printed, and does not count as a
// change.
func TestWeeks19DerivedValuesAreNoChange(t *testing.T) {
	a, b := load(t, Sources{}), load(t, Sources{})
	a.Derive("memory.limit", 1<<30)
	if reading, retention, rest := a.Changed(b); len(reading)+len(retention)+len(rest) > 0 {
		t.Errorf("changed: %v %v %v", reading, retention, rest)
	}
	if text, err := a.YAML(); err != nil || !strings.Contains(string(text), "limit: 1073741824") {
		t.Errorf("%v\n%s", err, text)
	}
}
