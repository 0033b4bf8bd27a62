package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// door is a way in which a value reaches a key.
type door struct {
	name string
	// plain means that the value is written without quotes.
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
	// All files of a test are in one directory.
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

// written holds values as a user might write them, for keys of any kind.
var written = []string{
	"0042", "0x1F", "0o17", "0b1", "1_000", "123456789012345678901234", "1e3", "1.50", ".inf", "2024-01-01", "2024-01-01T00:00:00Z", "12:30:45",
	"yes", "no", "on", "off", "y", "n", "true", "False", "0", "1", "-1", "+5", "7", "10s", "a$b", "a$$b", "${x}", "[1]", "[a, b]", "{a: 1}",
	"null", "~", "", " ", ",", "fossil", "nats://a,nats://b", "text",
}

// common holds the values with which every key is tried, each through a third of the doors, which differ
// between keys. One key of each kind is tried with all written values through all doors.
var common = []string{"0042", "1_000", "0", "7", "", "text", "null", "${x}"}

// reads reports whether a value in force is what was written, by the meaning of the kind.
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

// TestWeeks09EveryKeyTakesWhatIsWrittenOrRefusesIt puts many values through every door of every key: the
// result is the written value, or the default if that was blank, or an error that names the key. The printed
// configuration loads again with the same result.
func TestWeeks09EveryKeyTakesWhatIsWrittenOrRefusesIt(t *testing.T) {
	plain, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.yaml")
	// The value in force of such a key differs from the written one, and is printed as it is.
	derived := map[string]bool{
		"mode": true, "host": true, "metrics.host": true, "web.enabled": true, "nats.embedded.store_dir": true, "tls.acme.storage_dir": true,
		"nats.replicas": true, "idempotency.enabled": true, "delta_compression.omit_delta_algorithm": true,
		"http.max_bodies": true,
	}
	accepted := 0
	tried := map[kind]bool{}
	for i := range keys {
		k := &keys[i]
		if k.kind == tree {
			continue
		}
		values, all := common, !tried[k.kind]
		if all {
			values = written
		}
		tried[k.kind] = true
		for at, d := range doors {
			for n, v := range values {
				if !all && (i+at+n)%3 > 0 {
					continue
				}
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
					v = "" // nothing, followed by a comma
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
					if err := os.WriteFile(again, []byte(filledIn(text)), 0o600); err != nil {
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

// notInFormat reports whether a value cannot be written without quotes in the format.
func notInFormat(d door, v string) bool {
	return d.plain && (!strings.HasPrefix(d.name, "yaml") || strings.ContainsAny(v, "{[,$"))
}

// filledIn returns a printed configuration with secrets in place of their placeholders. The secrets are not
// addresses, so that a secret is printed only as a secret again.
func filledIn(printed []byte) string {
	return strings.NewReplacer(redacted, "a-secret%zz-that-was-filled-in-again", hiddenWord, "filled-in").Replace(string(printed))
}

// loadsAgain checks that the printed configuration is the one in force.
func loadsAgain(t *testing.T, c *Config) {
	t.Helper()
	for format, print := range map[string]func() ([]byte, error){"yaml": c.YAML, "json": c.JSON} {
		text, err := print()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: write(t, "again."+format, filledIn(text))})
		if err != nil {
			t.Errorf("what was printed does not load: %v\n%s", err, text)
			continue
		}
		if diff := cmp.Diff(c.Effective(), again.Effective()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// TestWeeks09EveryKeyOfAnAppTakesWhatIsWrittenOrRefusesIt does the same for the keys of apps.
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
		values, all := common, !tried[k.kind]
		if all {
			values = written
		}
		tried[k.kind] = true
		for at, d := range ways {
			for n, v := range values {
				if !all && (i+at+n)%3 > 0 {
					continue
				}
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
				// 0 stands for the setting of all apps there.
				global := strings.HasPrefix(k.name, "history_") && v == "0" || k.name == "enable_watchlist_events"
				if !blank && !global && !k.reads(got, v) {
					t.Errorf("%s = %q from %s gave %#v", k.name, v, d.name, got)
				}
				// In development mode the key and the secret of an app default to its id.
				if blank && v != " " && k.name != "key" && k.kind != secret && k.kind != file && !reflect.DeepEqual(c.Apps[0].effective()[k.name], plain[k.name]) {
					t.Errorf("%s = %q from %s is blank and gave %#v", k.name, v, d.name, got)
				}
			}
		}
	}
}
