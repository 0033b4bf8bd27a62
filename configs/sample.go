package configs

import (
	"fmt"
	"net/url"
	"strings"
)

// samplePrefix begins every secret of the samples and of docker-compose.yml.
const samplePrefix = "change-this"

// SampleSecrets returns the keys whose secret is published with the samples, or outside of development mode is
// the secret of its demo app.
func (c *Config) SampleSecrets() []string {
	var out []string
	look := func(name string, s Secret) {
		if c.isSample(s) {
			out = append(out, name)
		}
	}
	password := func(name, address string) {
		if u, err := url.Parse(address); err == nil && u.User != nil {
			word, has := u.User.Password()
			if !has {
				word = u.User.Username()
			}
			look(name, Secret(word))
		}
	}
	for i := range keys {
		k := &keys[i]
		s, _ := c.values[k.name].(string)
		switch k.kind {
		case secret:
			look(k.name, Secret(s))
		case address:
			password(k.name, s)
		}
	}
	for _, u := range c.NATS.URLs {
		password("nats.url", u)
	}
	for i := range c.Apps {
		out = append(out, c.samplesOf(fmt.Sprintf("apps[%d].", i), &c.Apps[i])...)
	}
	return out
}

func (c *Config) isSample(s Secret) bool {
	return s == DemoSecret && !c.Development || strings.HasPrefix(strings.ToLower(s.Reveal()), samplePrefix)
}

// samplesOf is SampleSecrets for one app; where is the prefix of the names.
func (c *Config) samplesOf(where string, a *App) (out []string) {
	if c.isSample(a.Secret) {
		out = append(out, where+"secret")
	}
	for i, k := range a.Earlier {
		if c.isSample(k.Secret) {
			out = append(out, fmt.Sprintf("%sprevious_keys[%d].secret", where, i))
		}
	}
	return out
}

// takesSamples reports whether such secrets are allowed.
func (c *Config) takesSamples() bool { return c.Development || c.AllowSamples || loopback(c.Host) }

// sampleProblem returns the problem of such a secret.
func (c *Config) sampleProblem(name string) string {
	return fmt.Sprintf("%s is the published secret of a sample and host is %q; choose another one, or set allow_sample_secrets: true to try something out", name, c.Host)
}

// CheckSecrets refuses the secrets of the samples if other machines can reach the server, unless the
// configuration allows them.
func (c *Config) CheckSecrets() error {
	if c.takesSamples() {
		return nil
	}
	samples := c.SampleSecrets()
	if len(samples) == 0 {
		return nil
	}
	e := &Error{}
	for _, name := range samples {
		e.Problems = append(e.Problems, c.sampleProblem(name))
	}
	return e
}
