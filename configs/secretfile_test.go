package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
	// A byte order mark does not belong to a secret, and a second line break is certainly a mistake.
	if c := load(t, Sources{File: write(t, "c.yaml", "apps: [{id: a, key: k, secret_file: "+file("marked", "\ufeffhunter8\n")+"}]")}); c.Apps[0].Secret != "hunter8" {
		t.Errorf("with a mark: %q", c.Apps[0].Secret.Reveal())
	}
	lines := file("lines", "a-hunter-that-is-long-enough-0123456789\n\n")
	for key, more := range map[string]string{"nats.password": "nats.user: u\n", "nats.token": "", "metrics.token": "", "console.token": ""} {
		got := problemsOf(t, Sources{File: write(t, "c.yaml", more+key+"_file: "+lines+"\napps: [{id: a, key: k, secret: s}]")})
		if len(got) != 1 || !strings.HasPrefix(got[0], key+" ") || strings.Contains(got[0], "hunter") {
			t.Errorf("%s with two line breaks: %q", key, got)
		}
	}
	// Every secret key has a key for a file.
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

// TestWeeks24TheComposeFilesStart: the configurations of the Compose files are valid as they are.
func TestWeeks24TheComposeFilesStart(t *testing.T) {
	for _, name := range []string{"gateway", "gateway-redis", "gateway-single"} {
		c := load(t, Sources{File: "deploy/compose/" + name + ".yaml"})
		if err := errors.Join(c.CheckBackend(), c.CheckSecrets()); err != nil || len(c.SampleSecrets()) == 0 {
			t.Errorf("%s: %v, secrets of the samples in %v", name, err, c.SampleSecrets())
		}
	}
}
