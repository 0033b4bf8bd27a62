package configs

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sort"
	"strings"

	koanfmaps "github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Sources are the sources of the configuration in addition to the defaults.
type Sources struct {
	// File is a path that ends in .json, .jsonc, .yaml, .yml or .toml. Empty means no file, and so development
	// mode.
	File string
	// Environ is the environment as returned by os.Environ.
	Environ []string
	// Flags must have been bound with [BindFlags] and parsed; nil means none.
	Flags *pflag.FlagSet
}

// delim joins the parts of a key's name.
const delim = "."

// maxFile bounds the file in bytes, with room for thousands of apps.
const maxFile = 16 << 20

// Load reads, merges and checks a configuration. The error is an [*Error] with all problems, unless the file
// cannot be read at all.
func Load(s Sources) (*Config, error) {
	file, err := s.readFile()
	if err != nil {
		return nil, err
	}
	p := newProblems()
	expand("", file, variables(s.Environ), p)
	environ, over := fromEnviron(s.Environ, p)
	values, err := merge(defaults(), fromFile(file, p), environ, fromFlags(s.Flags, p))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c := build(values, s.File != "", p)
	c.passed = over
	if len(p.list) > 0 {
		return nil, &Error{Problems: p.list}
	}
	return c, nil
}

// readFile returns the raw tree of the file. It is a separate layer, because its values are checked and
// converted to the types of the keys before they are merged.
func (s Sources) readFile() (map[string]any, error) {
	if s.File == "" {
		return nil, nil
	}
	tree := koanf.New(delim)
	content, err := readFile(s.File, maxFile)
	if err != nil {
		return nil, fmt.Errorf("configuration: %s %w", s.File, err)
	}
	parser, err := parserOf(filepath.Ext(s.File))
	if err == nil {
		err = tree.Load(rawbytes.Provider(content), parser)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %s: %w", s.File, err)
	}
	return tree.Raw(), nil
}

// merge merges layers of values by key names; later layers win.
func merge(layers ...map[string]any) (*koanf.Koanf, error) {
	all := map[string]any{}
	for _, layer := range layers {
		overlay(layer, all)
	}
	// The library visits all values at each load, so there is only one.
	values := koanf.New(delim)
	return values, values.Load(flat(all), nil)
}

// flat is a [koanf.Provider] of values by key names, which it takes over. The library's own provider copies
// them, and copies each again when it is read.
type flat map[string]any

func (f flat) Read() (map[string]any, error) { return koanfmaps.Unflatten(f, delim), nil }
func (f flat) ReadBytes() ([]byte, error)    { return nil, errors.ErrUnsupported }

// overlay puts the values of a source over earlier ones. A secret and the file that holds it are one setting, so
// either replaces the other.
func overlay(src, dest map[string]any) {
	maps.Copy(dest, src)
	for i := range keys {
		name := keys[i].secretOf()
		if name == "" {
			continue
		}
		_, secret := src[name]
		if _, file := src[keys[i].name]; secret && !file {
			dest[keys[i].name] = ""
		}
	}
}

func defaults() map[string]any {
	out := map[string]any{}
	for i := range keys {
		k := &keys[i]
		v := k.def
		if k.development != nil {
			continue // it depends on the mode
		}
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
				if _, twice := out[path]; twice {
					p.at(path, "%s is given twice, with a dot and in its section", path)
				} else if value, ok := k.value(path, v, p); ok {
					out[path] = value
				}
			case sections[path] && isMap:
				walk(path+".", inner)
			case sections[path]:
				if w, is := v.(word); v != nil && !(is && w.null()) {
					p.at(path, "%s must be a section of keys", path)
				}
			default:
				unknown(p, "", path, known)
			}
		}
	}
	walk("", file)
	readSecrets("", keys, out, p)
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

func fromFlags(fs *pflag.FlagSet, p *problems) map[string]any {
	out := map[string]any{}
	if fs == nil {
		return out
	}
	for i := range keys {
		k := &keys[i]
		f := fs.Lookup(k.flag())
		// A blank flag comes from a script whose variable is not set.
		if f == nil || !f.Changed || strings.TrimSpace(f.Value.String()) == "" {
			continue
		}
		if value, ok := k.value(k.name+" (flag --"+k.flag()+")", f.Value.String(), p); ok {
			out[k.name] = value
		}
	}
	readSecrets("", keys, out, p)
	return out
}
