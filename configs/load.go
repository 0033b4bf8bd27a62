package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"github.com/tailscale/hujson"
)

// Sources are where the configuration comes from, besides the defaults.
type Sources struct {
	// File is a path that ends in .json, .jsonc, .yaml, .yml or .toml; empty
	// means that there is none, and development mode.
	File string
	// Environ is the environment, as os.Environ gives it.
	Environ []string
	// Flags have been bound with [BindFlags] and parsed; nil means none.
	Flags *pflag.FlagSet
}

// Load reads, merges and checks a configuration. The error is an [*Error] with
// everything that is wrong, unless the file cannot be read at all.
func Load(s Sources) (*Config, error) {
	var file map[string]any
	if s.File != "" {
		content, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		if file, err = parse(filepath.Ext(s.File), content); err != nil {
			return nil, fmt.Errorf("configuration: %s: %w", s.File, err)
		}
	}
	p := &problems{}
	k := koanf.New(".")
	for _, layer := range []map[string]any{defaults(), fromFile(file, p), fromEnviron(s.Environ, p), fromFlags(s.Flags, p)} {
		if err := k.Load(confmap.Provider(layer, "."), nil); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
	}
	c := build(k, s.File != "", p)
	if len(p.list) > 0 {
		return nil, &Error{Problems: p.list}
	}
	return c, nil
}

// parse reads the text of a file.
func parse(ext string, content []byte) (map[string]any, error) {
	switch strings.ToLower(ext) {
	case ".json", ".jsonc":
		plain, err := hujson.Standardize(content)
		if err != nil {
			return nil, err
		}
		var out map[string]any
		dec := json.NewDecoder(strings.NewReader(string(plain)))
		dec.UseNumber()
		if err := dec.Decode(&out); err != nil {
			return nil, err
		}
		if dec.More() {
			return nil, errors.New("text follows the JSON object")
		}
		return out, nil
	case ".yaml", ".yml":
		return yaml.Parser().Unmarshal(content)
	case ".toml":
		return toml.Parser().Unmarshal(content)
	}
	return nil, fmt.Errorf("the ending %q is not one of .json, .jsonc, .yaml, .yml, .toml", ext)
}

func defaults() map[string]any {
	out := map[string]any{}
	for i := range keys {
		k := &keys[i]
		v := k.def
		if k.kind == duration {
			v, _ = span(v)
		}
		out[k.name] = v
	}
	return out
}

// fromFile flattens the tree of a file to known keys.
func fromFile(file map[string]any, p *problems) map[string]any {
	out := map[string]any{}
	sections := map[string]bool{}
	for _, name := range names(keys) {
		for i := strings.IndexByte(name, '.'); i >= 0; {
			sections[name[:i]] = true
			next := strings.IndexByte(name[i+1:], '.')
			if next < 0 {
				break
			}
			i += 1 + next
		}
	}
	known := names(keys)
	for section := range sections {
		known = append(known, section)
	}
	sort.Strings(known)
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for _, name := range sorted(m) {
			path, v := prefix+name, m[name]
			inner, isMap := v.(map[string]any)
			k := find(keys, path)
			switch {
			case k != nil:
				if v == nil {
					continue
				}
				if value, ok := k.value(path, v, p); ok {
					out[path] = value
				}
			case sections[path] && isMap:
				walk(path+".", inner)
			case sections[path]:
				if v != nil {
					p.add("%s must be a section of keys", path)
				}
			default:
				unknown(p, "", path, known)
			}
		}
	}
	walk("", file)
	return out
}

func sorted(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// plainVariables are understood besides those with the prefix.
var plainVariables = map[string]string{"PORT": "port", "ADAPTER_DRIVER": "adapter.driver", "REDIS_URL": "redis_url", "RUST_LOG": ""}

func fromEnviron(environ []string, p *problems) map[string]any {
	byName := map[string]*key{}
	var known []string
	for i := range keys {
		byName[keys[i].env()] = &keys[i]
		known = append(known, keys[i].env())
	}
	out := map[string]any{}
	for pass := range 2 {
		for _, variable := range environ {
			name, v, _ := strings.Cut(variable, "=")
			var k *key
			if target, plain := plainVariables[name]; plain {
				if pass == 1 || target == "" || v == "" {
					continue
				}
				k = find(keys, target)
			} else if !strings.HasPrefix(name, "SLUICE_") || pass == 0 {
				continue
			} else if k = byName[strings.ReplaceAll(name, "__", "_")]; k == nil {
				unknown(p, "", name, known)
				continue
			}
			if k.kind == tree {
				p.add("%s cannot be set by the environment variable %s; use a file", k.name, name)
				continue
			}
			if value, ok := k.value(k.name+" (environment variable "+name+")", v, p); ok {
				out[k.name] = value
			}
		}
	}
	return out
}

// BindFlags adds a flag for every key that can be given on a command line. Secrets
// cannot: a command line is visible to others.
func BindFlags(fs *pflag.FlagSet) {
	for i := range keys {
		k := &keys[i]
		if k.kind == tree || k.kind == secret || k.kind == address {
			continue
		}
		// pflag takes the first text in backticks for the name of the value.
		fs.String(k.flag(), "", strings.ReplaceAll(k.text, "`", ""))
		if k.kind == boolean {
			fs.Lookup(k.flag()).NoOptDefVal = "true"
		}
	}
}

func fromFlags(fs *pflag.FlagSet, p *problems) map[string]any {
	out := map[string]any{}
	if fs == nil {
		return out
	}
	for i := range keys {
		k := &keys[i]
		f := fs.Lookup(k.flag())
		if f == nil || !f.Changed {
			continue
		}
		if value, ok := k.value(k.name+" (flag --"+k.flag()+")", f.Value.String(), p); ok {
			out[k.name] = value
		}
	}
	return out
}
