package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// leastEncryptionKey is the least length of a key in bytes.
const leastEncryptionKey = 32

// buildEncryption reads the keys of the apps in the cluster.
func (c *Config) buildEncryption(g getter, p *problems) {
	const present, earlier = "apps_encryption_key", "apps_decryption_keys"
	all := []string{g.text(present)}
	for part := range strings.FieldsFuncSeq(g.text(earlier), func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	if all[0] == "" {
		if len(all) > 1 {
			p.at(earlier, "%s is given without %s", earlier, present)
		}
		return
	}
	for i, key := range all {
		name := present
		if i > 0 {
			name = earlier
		}
		if len(key) < leastEncryptionKey {
			p.at(name, "%s has a key of %d bytes, must be %d or more", name, len(key), leastEncryptionKey)
		}
		c.EncryptionKeys = append(c.EncryptionKeys, Secret(key))
	}
}

// ParseApp reads the settings of one app from YAML or JSON. The error does not show the text.
func ParseApp(text []byte) (map[string]any, error) {
	read := yamlParser
	if json.Valid(text) {
		read = jsonParser
	}
	tree, err := read.Unmarshal(text)
	if err != nil {
		return nil, err
	}
	if len(tree) == 0 {
		return nil, errors.New("has no settings")
	}
	return tree, nil
}

// AppText is the settings of one app as they are kept.
func AppText(tree map[string]any) ([]byte, error) { return jsonParser.Marshal(tree) }

// ShownURL is an address without what may be secret in it.
func ShownURL(address string) string { return redactQuery(redactURL(address)) }

// errFiles: files are not the same everywhere.
const errFiles = "files cannot be named by an app of the cluster, which all gateways have; give the secret itself"

// WithClusterApps is the configuration with apps of the cluster behind its own, in the order of
// their ids. Each is checked as those of the file are; the ids of those that cannot be used come
// back with the reasons. The configuration wins where both have an id or a key.
func (c *Config) WithClusterApps(trees map[string]map[string]any) (out *Config, refused map[string]error) {
	next := *c
	next.Apps, refused = slices.Clone(c.Apps), map[string]error{}
	if len(trees) == 0 {
		return &next, refused
	}
	owners := map[string]string{}
	for i := range c.Apps {
		for _, key := range c.Apps[i].keys() {
			owners[key] = fmt.Sprintf("the app %q of the configuration", c.Apps[i].ID)
		}
	}
	for _, id := range sorted(asAny(trees)) {
		a, err := c.clusterApp(id, trees[id], owners)
		if err != nil {
			refused[id] = err
			continue
		}
		for _, key := range a.keys() {
			owners[key] = fmt.Sprintf("the app %q of the cluster", id)
		}
		next.Apps = append(next.Apps, a)
	}
	return &next, refused
}

func asAny(trees map[string]map[string]any) map[string]any {
	out := make(map[string]any, len(trees))
	for id := range trees {
		out[id] = nil
	}
	return out
}

// clusterApp builds one app of the cluster. owners are who has which key.
func (c *Config) clusterApp(id string, tree map[string]any, owners map[string]string) (App, error) {
	if c.app(id) != nil {
		return App{}, errors.New("the configuration has an app with this id, which counts; remove one of them")
	}
	p := newProblems()
	as := *c
	// What development mode makes up is for files alone: key and secret must be there.
	as.Development = false
	a := buildApp("", tree, &as, p)
	if a.ID != id && p.sound("id") {
		p.add("id is %q, must be %q", shorten(a.ID), shorten(id))
	}
	if files(&a) {
		p.add(errFiles)
	}
	if a.Secret == DemoSecret && !c.Development && !loopback(c.Host) {
		p.add("secret is the published demo secret")
	}
	for _, key := range a.keys() {
		if owner, taken := owners[key]; taken {
			p.add("key is %q, which %s has", shorten(key), owner)
		}
	}
	if len(p.list) > 0 {
		return App{}, &Error{Problems: p.list}
	}
	return a, nil
}

// keys are the public keys of an app, each once.
func (a *App) keys() []string {
	out := []string{a.Key}
	for _, k := range a.Earlier {
		if !slices.Contains(out, k.Key) {
			out = append(out, k.Key)
		}
	}
	return out
}

// files says whether an app names files.
func files(a *App) bool {
	named := a.SecretFile != ""
	for _, k := range a.Earlier {
		named = named || k.SecretFile != ""
	}
	for _, w := range a.Webhooks {
		named = named || len(w.HeaderFiles) > 0
	}
	return named
}
