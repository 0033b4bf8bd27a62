package configs

import (
	"fmt"
	"net/url"
	"strings"
)

// samplePrefix begins every secret of the samples and of docker-compose.yml.
const samplePrefix = "change-this"

// SampleSecrets names the keys whose secret is one of those that are published with the
// samples, or outside of development mode the one of its app.
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

// samplesOf is SampleSecrets for one app; where begins the names.
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

// takesSamples says whether such secrets may be used.
func (c *Config) takesSamples() bool { return c.Development || c.AllowSamples || loopback(c.Host) }

// sampleProblem says why one may not.
func (c *Config) sampleProblem(name string) string {
	return fmt.Sprintf("%s is the published secret of a sample and host is %q; choose another one, or set allow_sample_secrets: true to try something out", name, c.Host)
}

// CheckSecrets refuses the secrets of the samples where others than this machine can
// reach the server, unless the configuration says that it is a try-out.
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
