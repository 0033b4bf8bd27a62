package configs

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// AppKey is an earlier pair of credentials of an app.
type AppKey struct {
	Key    string
	Secret Secret
	// SecretFile is the file of Secret, empty if that has another source.
	SecretFile string
	// Until is when it expires, zero for never.
	Until time.Time
}

// Counts reports whether it is valid at a time.
func (k *AppKey) Counts(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// maxEarlier bounds the earlier keys of one app.
const maxEarlier = 16

// earlierKeys are the keys of an entry of previous_keys.
var earlierKeys = withFiles([]key{
	{name: "key", kind: text, def: ""},
	{name: "secret", kind: secret, def: ""},
	{name: "until", kind: text, def: ""},
})

// buildEarlier builds previous_keys of an app whose present credentials are known.
func buildEarlier(where string, raw any, a *App, p *problems) (out []AppKey) {
	if raw == nil {
		return nil
	}
	list, ok := raw.([]any)
	if !ok {
		p.add("%s must be a list", where)
		return nil
	}
	if len(list) > maxEarlier {
		p.add("%s has %d entries, the limit is %d", where, len(list), maxEarlier)
	}
	for i, entry := range list {
		at := fmt.Sprintf("%s[%d]", where, i)
		v, ok := structure(at, entry, earlierKeys, p)
		if !ok {
			continue
		}
		readSecrets(at+".", earlierKeys, v, p)
		word := func(name string) string { s, _ := v[name].(string); return s }
		k := AppKey{Key: word("key"), Secret: Secret(word("secret")), SecretFile: word("secret_file")}
		if k.Key == "" {
			k.Key = a.Key
		}
		if k.Secret == "" {
			p.at(at+".secret", "%s.secret is missing", at)
		}
		checkKey(at+".key", k.Key, p)
		checkSecret(at+".secret", k.Secret, p)
		if text := word("until"); text != "" {
			var err error
			if k.Until, err = time.Parse(time.RFC3339, text); err != nil {
				p.at(at+".until", "%s.until is %q, must be a time with its zone such as 2026-03-01T12:00:00Z", at, shorten(text))
			}
			k.Until = k.Until.UTC()
		}
		out = append(out, k)
	}
	return out
}

// checkKey checks a public key.
func checkKey(where, key string, p *problems) {
	if strings.ContainsAny(key, "/?#:& ") || len(key) > 200 || hasControl(key) || isDots(key) {
		p.at(where, "%s is %q, must have up to 200 bytes, none of / ? # : & or space, no control characters, and not be . or ..", where, shorten(key))
	}
}

// checkSecret refuses a secret that is probably a mistake, such as one with the line break of a YAML block. The
// problem does not contain it.
func checkSecret(where string, secret Secret, p *problems) {
	if text := secret.Reveal(); strings.TrimFunc(text, unicode.IsControl) != text {
		p.at(where, "%s begins or ends with a line break or another control character", where)
	}
}

// checkSecretKeys calls checkSecret for the keys whose secrets are compared with others. Encryption keys may be
// any text.
func (c *Config) checkSecretKeys(p *problems) {
	for i := range keys {
		if k := &keys[i]; k.kind == secret && !strings.HasPrefix(k.name, "apps_") {
			text, _ := c.values[k.name].(string)
			checkSecret(k.name, Secret(text), p)
		}
	}
}

// hasControl reports whether a text has control characters.
func hasControl(text string) bool {
	return strings.ContainsFunc(text, unicode.IsControl)
}

// isDots reports whether clients would treat a path segment as a relative reference.
func isDots(text string) bool { return text == "." || text == ".." }

// checkEarlier refuses keys that another app has as well. owners are the indexes of the apps by their present
// keys.
func checkEarlier(apps []App, owners map[string]int, p *problems) {
	for i := range apps {
		for j, k := range apps[i].Earlier {
			at := fmt.Sprintf("apps[%d].previous_keys[%d].key", i, j)
			owner, taken := owners[k.Key]
			switch {
			case !p.sound(at):
			case taken && owner != i:
				p.add("%s is %q, which apps[%d] has", at, shorten(k.Key), owner)
			case !taken:
				owners[k.Key] = i
			}
		}
	}
}

func effectiveEarlier(all []AppKey) []any {
	out := []any{}
	for _, k := range all {
		entry := map[string]any{"key": k.Key, "secret": k.Secret.String()}
		if k.SecretFile != "" {
			delete(entry, "secret")
			entry["secret_file"] = k.SecretFile
		}
		if !k.Until.IsZero() {
			entry["until"] = k.Until.Format(time.RFC3339)
		}
		out = append(out, entry)
	}
	return out
}
