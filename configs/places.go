package configs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SecretFile is a file with a secret, and the key that names it.
type SecretFile struct{ Key, Path string }

// keyFiles are the keys of files with secrets that are not read as the value of a key.
var keyFiles = []string{"nats.credentials_file", "nats.nkey_file", "nats.tls.key_file", "redis.tls.key_file", "tls.key_file"}

// SecretFiles returns all files with secrets that the configuration names, in the order of its keys and apps.
func (c *Config) SecretFiles() (out []SecretFile) {
	for i := range keys {
		if name := keys[i].name; slices.Contains(keyFiles, name) {
			path, _ := c.values[name].(string)
			out = append(out, SecretFile{name, path})
		}
	}
	return named(append(out, c.valueFiles()...))
}

// Files returns the files with secrets from which the configuration was read, sorted. Their content may change
// while a server runs.
func (c *Config) Files() (out []string) {
	for _, f := range named(c.valueFiles()) {
		out = append(out, f.Path)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// valueFiles returns the files that are read as values of keys; those that are not configured have no path.
func (c *Config) valueFiles() (out []SecretFile) {
	for i := range keys {
		if path, _ := c.values[keys[i].name].(string); keys[i].kind == file {
			out = append(out, SecretFile{keys[i].name, path})
		}
	}
	for i := range c.Apps {
		a, where := &c.Apps[i], fmt.Sprintf("apps[%d].", i)
		out = append(out, SecretFile{where + "secret_file", a.SecretFile})
		for j, k := range a.Earlier {
			out = append(out, SecretFile{fmt.Sprintf("%sprevious_keys[%d].secret_file", where, j), k.SecretFile})
		}
		for j, w := range a.Webhooks {
			for _, name := range slices.Sorted(maps.Keys(w.HeaderFiles)) {
				out = append(out, SecretFile{fmt.Sprintf("%swebhooks[%d].headers[%s].file", where, j, strconv.Quote(shorten(name))), w.HeaderFiles[name]})
			}
		}
	}
	return out
}

func named(files []SecretFile) []SecretFile {
	return slices.DeleteFunc(files, func(f SecretFile) bool { return f.Path == "" })
}

// inline returns the secrets that do not come from files of their own.
func (c *Config) inline() (out []string) {
	add := func(s, file string) {
		if s != "" && file == "" {
			out = append(out, s)
		}
	}
	for i := range keys {
		k := &keys[i]
		s, _ := c.values[k.name].(string)
		from, _ := c.values[k.name+"_file"].(string)
		if k.kind == secret || k.kind == address && redactURL(s) != s {
			add(s, from)
		}
	}
	if from, _ := c.values["apps_decryption_keys_file"].(string); len(c.EncryptionKeys) > 1 {
		for _, s := range c.EncryptionKeys[1:] {
			add(s.Reveal(), from)
		}
	}
	for _, u := range c.NATS.URLs {
		if redactURL(u) != u {
			add(u, "")
		}
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		if !c.Development || a.Secret.Reveal() != a.ID { // made up in development mode
			add(a.Secret.Reveal(), a.SecretFile)
		}
		for _, k := range a.Earlier {
			add(k.Secret.Reveal(), k.SecretFile)
		}
		for _, w := range a.Webhooks {
			if ShownURL(w.URL) != w.URL {
				add(w.URL, "")
			}
			for name, s := range w.Headers {
				add(s.Reveal(), w.HeaderFiles[name])
			}
		}
	}
	return out
}

// leastFound is the minimum length of a secret that is searched for in a text: shorter ones may be parts of
// other words.
const leastFound = 8

// Holds reports whether the configuration file at path contains one of the secrets, also in a comment. Secrets
// that come only from the environment or a flag do not count.
func (c *Config) Holds(path string) (bool, error) {
	content, err := readFile(path, maxFile)
	if err != nil {
		return false, err
	}
	written := map[string]bool{}
	if parser, err := parserOf(filepath.Ext(path)); err == nil {
		if tree, err := parser.Unmarshal(content); err == nil {
			leaves(tree, written)
		}
	}
	return slices.ContainsFunc(c.inline(), func(s string) bool {
		return written[s] || written[strings.TrimSpace(s)] || len(s) >= leastFound && strings.Contains(string(content), s)
	}), nil
}

// leaves adds the values of a tree, and the parts of values that are lists with commas or lines.
func leaves(tree any, out map[string]bool) {
	switch v := tree.(type) {
	case nil:
	case map[string]any:
		for _, inner := range v {
			leaves(inner, out)
		}
	case []any:
		for _, inner := range v {
			leaves(inner, out)
		}
	default:
		text := fmt.Sprint(v)
		out[strings.TrimSpace(text)], out[text] = true, true
		for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			out[strings.TrimSpace(part)] = true
		}
	}
}

// SecretsOfServer returns existing files with secrets that a server of this configuration writes itself.
func (c *Config) SecretsOfServer() (out []SecretFile) {
	if c.Embeds() {
		for _, name := range []string{"apps.key", "sluice.door"} {
			path := filepath.Join(c.NATS.Embedded.StoreDir, name)
			if _, err := os.Stat(path); err == nil {
				out = append(out, SecretFile{"nats.embedded.store_dir", path})
			}
		}
	}
	if acme := &c.TLS.ACME; len(acme.Domains) > 0 {
		_ = filepath.WalkDir(acme.StorageDir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".key" {
				out = append(out, SecretFile{"tls.acme.storage_dir", path})
			}
			return nil // what this user cannot read is not open to others
		})
	}
	return out
}
