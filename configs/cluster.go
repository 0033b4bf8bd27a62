package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// leastEncryptionKey is the minimum length of an encryption key in bytes.
const leastEncryptionKey = 32

// buildEncryption reads the encryption keys of the apps in the cluster.
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

// ParseApp parses the settings of one app from YAML or JSON. The error does not contain the text.
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

// ShownURL returns a URL without its secret parts.
func ShownURL(address string) string { return redactQuery(redactURL(address)) }

// errFiles is the problem of an app of the cluster that names files, because files differ between machines.
const errFiles = "files cannot be named by an app of the cluster, which all gateways have; give the secret itself"

// WithClusterApps returns the configuration with apps of the cluster after its own, in the order of their ids.
// Each is checked separately, like those of the file; refused has the errors of invalid ones by id. A nil tree
// stands for an app that cannot be read. If both have an id or a key, the configuration wins. held are the apps
// of the cluster in use: one whose new settings are invalid or cannot be read stays as it was.
func (c *Config) WithClusterApps(trees map[string]map[string]any, held []App) (out *Config, refused map[string]error) {
	next := *c
	next.Apps, refused = slices.Clone(c.Apps), map[string]error{}
	if len(trees) == 0 {
		return &next, refused
	}
	in := c.joining(trees, held)
	for _, id := range sorted(asAny(trees)) {
		var a App
		err := errUnread
		if tree := trees[id]; tree != nil {
			if a, err = in.wanted(id, tree); err != nil {
				refused[id] = err
			}
		}
		if err != nil {
			before := in.held[id]
			if before == nil || in.check(before) != nil {
				continue
			}
			a = *before
		}
		in.take(&a)
		next.Apps = append(next.Apps, a)
	}
	return &next, refused
}

// ClusterApp returns an app of the cluster as it would be in use with this configuration, for comparison with
// another version of it. It is not checked.
func (c *Config) ClusterApp(tree map[string]any) App {
	as := *c
	as.Development = false
	return buildApp("", tree, &as, newProblems())
}

func asAny(trees map[string]map[string]any) map[string]any {
	out := make(map[string]any, len(trees))
	for id := range trees {
		out[id] = nil
	}
	return out
}

// errUnread stands for an app that cannot be read; the caller knows the reason.
var errUnread = errors.New("cannot be read")

// joining is the state of adding apps of the cluster to a configuration.
type joining struct {
	*Config
	// held are the apps in use, by id. owners describes the app of each key.
	held   map[string]*App
	owners map[string]string
	// room is the room for the apps of the configuration, the held ones, and those that were added.
	room room
}

func (c *Config) joining(trees map[string]map[string]any, held []App) *joining {
	in := &joining{Config: c, held: map[string]*App{}, owners: map[string]string{}}
	for i := range c.Apps {
		in.room = in.room.with(&c.Apps[i])
		for _, key := range c.Apps[i].keys() {
			in.owners[key] = fmt.Sprintf("the app %q of the configuration", c.Apps[i].ID)
		}
	}
	for i := range held {
		if _, stays := trees[held[i].ID]; stays && c.app(held[i].ID) == nil {
			in.held[held[i].ID] = &held[i]
			in.room = in.room.with(&held[i])
		}
	}
	return in
}

// take adds an app.
func (in *joining) take(a *App) {
	for _, key := range a.keys() {
		in.owners[key] = fmt.Sprintf("the app %q of the cluster", a.ID)
	}
	in.room = in.roomWith(a)
}

// roomWith returns the room including an app. The log of an existing app keeps its size until that is changed,
// which comes last.
func (in *joining) roomWith(a *App) room {
	before := in.held[a.ID]
	if before == nil {
		return in.room.with(a)
	}
	as := *a
	as.MaxBytes = max(as.MaxBytes, before.MaxBytes)
	return in.room.without(before).with(&as)
}

// wanted builds one app, and returns an error if it is invalid.
func (in *joining) wanted(id string, tree map[string]any) (App, error) {
	p := newProblems()
	as := *in.Config
	// Development mode makes up missing values only for apps of files. Here key and secret are required.
	as.Development = false
	a := buildApp("", tree, &as, p)
	if a.ID != id && p.sound("id") {
		p.add("id is %q, must be %q", shorten(a.ID), shorten(id))
	}
	if files(&a) {
		p.add(errFiles)
	}
	in.checkSize("", &a, p)
	if err := in.check(&a); err != nil {
		p.list = append(p.list, err.Problems...)
	}
	if len(p.list) > 0 {
		return App{}, &Error{Problems: p.list}
	}
	return a, nil
}

// check returns why an app conflicts with the configuration or other apps, nil if it does not. It must include
// every check that depends on an app and is made when the configuration is put in force ([Config.With]), because
// an error found only then affects all apps.
func (in *joining) check(a *App) *Error {
	p := newProblems()
	if in.app(a.ID) != nil {
		return &Error{Problems: []string{"the configuration has an app with this id, which counts; remove one of them"}}
	}
	in.checkKept("", a, p)
	if a.Secret == DemoSecret && !in.Development && !loopback(in.Host) {
		p.at("secret", "secret is the published demo secret")
	}
	if !in.takesSamples() {
		for _, name := range in.samplesOf("", a) {
			p.at(name, "%s", in.sampleProblem(name))
		}
	}
	for _, key := range a.keys() {
		if owner, taken := in.owners[key]; taken {
			p.add("key is %q, which %s has", shorten(key), owner)
		}
	}
	if r := in.roomWith(a); in.Embeds() && r.total() > max(in.NATS.Embedded.MaxStore, in.room.total()) {
		in.noRoom(r, p)
	}
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Problems: p.list}
}

// keys returns the public keys of an app, each once.
func (a *App) keys() []string {
	out := []string{a.Key}
	for _, k := range a.Earlier {
		if !slices.Contains(out, k.Key) {
			out = append(out, k.Key)
		}
	}
	return out
}

// files reports whether an app names files.
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
